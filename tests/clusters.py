"""Real engines of many machines, on this one, for tests: SLURM with four nodes, Ray with a head and three."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bits import BASE, bits, write

from grokjax.results.attempts import done_chunks
from grokjax.results.verify import verify
from grokjax.results.workers import workers

# a few chunks of some seconds each, so that what is killed is at work
SWEEP: dict[str, Any] = {
    "base": BASE | {"train": {"steps": 160_000}},
    "log": {"every": 1000, "eval_every": 5000, "snapshot_every": 50_000},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 15}, "train.steps": {"values": [160_000, 90_000]}},
}
LONGEST = 240.0  # seconds that a sweep may take, with all that befalls it
NODES = 4
GRACE = 5  # seconds that a preempted task of SLURM has


def command(*words: Any) -> list[str]:
    return [sys.executable, "-m", "grokjax.cli", *map(str, words)]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = LONGEST) -> Any:
    """What `condition` returns, once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        _pause()
    return found


def _pause() -> None:
    """A moment in which this process does not take the processor from those that it waits for."""
    left, right = socket.socketpair()
    left.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        left.recv(1)
    left.close()
    right.close()


def at_work(out: Path) -> list[Any]:
    """Workers that have recorded something of a chunk that is not done."""
    return [seen for seen in workers(out) if seen.run_steps] if (out / "chunks").is_dir() else []


def done(out: Path) -> int:
    return len(done_chunks(out)) if (out / "chunks").is_dir() else 0


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Processes begun meanwhile have one device each, so that a chunk takes its time also where nobody else is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
        yield


def assert_ended(out: Path) -> None:
    """A directory holds what one process makes of the sweep, to the bit."""
    assert bits(out) == _alone()
    assert not verify(out).damaged


@functools.cache
def _alone() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        subprocess.run(command("run", write(Path(folder), SWEEP), "--out", out), check=True, capture_output=True)
        return bits(out)


# --- processes -------------------------------------------------------------------------------------------------


def environments() -> list[tuple[int, set[str]]]:
    """(process, NAME=value of its environment) of all of this host."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            found.append((int(process.name), set((process / "environ").read_bytes().decode().split("\0"))))
    return found


def parent_of(process: int) -> int:
    return int(_status(process)["PPid"])


def is_told(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that is frozen."""
    try:
        status = _status(process)
    except FileNotFoundError:
        return False
    return bool((int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)) & 1 << number - 1)


def _status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# --- SLURM ----------------------------------------------------------------------------------------------------

CONF = """\
ClusterName=grokjax
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=6
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd-%n.pid
SlurmctldLogFile={here}/slurmctld.log
SlurmdLogFile={here}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=15
JobRequeue=1
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
MaxArraySize=1001
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes=n[1-{nodes}] Default=YES MaxTime=01:00:00 PriorityTier=1 GraceTime={grace} State=UP
PartitionName=urgent Nodes=n[1-{nodes}] MaxTime=01:00:00 PriorityTier=2 State=UP
"""


def no_slurm() -> str | None:
    """Why SLURM cannot be started here; None: it can."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurmctld slurmd slurm-client munge)"
    if os.geteuid():
        return "SLURM's daemons are started as root"
    return None if Path("/etc/munge/munge.key").exists() else "munge has no key"


class Slurm:
    """A controller, and nodes of one processor each; $SLURM_CONF names its configuration meanwhile."""

    def __init__(self, here: Path):
        for folder in ("state", "spool", *(f"spool/n{at}" for at in range(1, NODES + 1))):
            (here / folder).mkdir()
        port, host = free_port(), socket.gethostname().split(".")[0]
        first = free_port(NODES)
        self.conf = here / "slurm.conf"
        ports = {"port": port, "first": first, "last": first + NODES - 1}
        self.conf.write_text(CONF.format(host=host, here=here, nodes=NODES, grace=GRACE, **ports))
        os.environ["SLURM_CONF"] = str(self.conf)
        _start_munge()
        self.controller = _start_quietly("slurmctld", "-D", "-c")
        self.nodes = {f"n{at}": _start_quietly("slurmd", "-D", "-N", f"n{at}") for at in range(1, NODES + 1)}

    def lose_power(self, node: str) -> None:
        """End all that runs on a node at once: its daemon, the one that looks after its job, and the job."""
        self.nodes[node].kill()
        self.nodes[node].wait()
        here = {f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.conf}"}
        job = [process for process, words in environments() if here <= words]
        for process in {parent_of(process) for process in job} - {1, os.getpid()} | set(job):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def start_node(self, node: str) -> None:
        self.nodes[node] = _start_quietly("slurmd", "-D", "-N", node)

    def stop(self) -> None:
        subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
        with contextlib.suppress(TimeoutError, subprocess.CalledProcessError):
            wait_for(lambda: not jobs(), "the end of all jobs", 30)
        for process in (*self.nodes.values(), self.controller):
            process.kill()
            process.wait()


def _start_quietly(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def slurm(here: Path) -> Iterator[Slurm]:
    """A cluster whose state is in a folder."""
    before = os.environ.get("SLURM_CONF")
    cluster = Slurm(here)
    try:
        wait_for(lambda: idle_nodes() == NODES, "SLURM's nodes do not come up", 60)
        yield cluster
    finally:
        cluster.stop()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _start_munge() -> None:
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return
    for folder in ("/run/munge", "/var/lib/munge", "/var/log/munge"):
        Path(folder).mkdir(exist_ok=True)
        shutil.chown(folder, "munge")
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)


def idle_nodes() -> int:
    said = subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], capture_output=True, text=True, check=False).stdout
    return sum(int(line) for line in said.split())


def jobs() -> list[tuple[str, str]]:
    """(job, state) of all tasks that have not ended."""
    said = subprocess.run(["squeue", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True, check=True).stdout
    return [(job, state) for job, state in (line.split() for line in said.splitlines())]


def submit_urgent(node: str) -> None:
    """A job of a moment in the partition that comes first, on a node of which it takes the only processor."""
    line = ["sbatch", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null", "--wrap=true"]
    subprocess.run(line, check=True, capture_output=True)


def node_of(task: str) -> str:
    """Where a task runs, such as 12_3."""
    line = ["squeue", "-h", "-r", "-j", task, "-o", "%N"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def restarts(array: str) -> dict[int, int]:
    """Of each task of an array, how often SLURM put it back into the queue."""
    line = ["scontrol", "show", "job", "--oneliner", array]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"ArrayTaskId=(\d+) .*Restarts=(\d+)", said)
    return {int(task): int(count) for task, count in found}


# --- Ray ------------------------------------------------------------------------------------------------------


class Ray:
    """A head without processors, and nodes of one each."""

    def __init__(self, here: Path):
        self.here, self.port = here, free_port()
        self.address = f"ray://127.0.0.1:{self.port}"
        self._start("--head", f"--port={self.port}", "--num-cpus=0", f"--temp-dir={here}", "--include-dashboard=false")

    def add_node(self) -> None:
        self._start(f"--address=127.0.0.1:{self.port}", "--num-cpus=1")

    def _start(self, *options: str) -> None:
        memory = ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats"]
        program = str(Path(sys.executable).with_name("ray"))  # of this environment, which may not be on the path
        subprocess.run([program, "start", *options, *memory], check=True, capture_output=True)

    def raylets(self) -> list[int]:
        """Processes of the nodes, the head's first."""
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if "/raylet/raylet " in line and f":{self.port} " in line:
                    found.append((process.stat().st_ctime, int(process.name)))
        return [process for _, process in sorted(found)]

    def stop(self) -> None:
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                line = (process / "cmdline").read_bytes().decode()
                if str(self.here) in line and int(process.name) != os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)


def is_training(process: int) -> bool:
    """Whether a process is a worker of Ray that has a chunk: Ray gives it the name of its task."""
    try:
        return b"_train_here" in Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def ray(here: Path, nodes: int) -> Iterator[Ray]:
    cluster = Ray(here)
    try:
        for _ in range(nodes):
            cluster.add_node()
        yield cluster
    finally:
        cluster.stop()


def free_port(count: int = 1) -> int:
    """The first of some ports in a row that nobody listens at."""
    while True:
        with socket.socket() as asked:
            asked.bind(("127.0.0.1", 0))
            first = asked.getsockname()[1]
        if first + count < 65_000 and all(_is_free(first + more) for more in range(count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
