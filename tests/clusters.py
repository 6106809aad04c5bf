"""Real engines of many machines, on this one, for tests: SLURM with four nodes, Ray with a head and three."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bits import BASE

from grokjax.results.attempts import done_chunks
from grokjax.results.workers import workers

# a few chunks of some seconds each, so that what is killed is at work
SWEEP: dict[str, Any] = {
    "base": BASE | {"train": {"steps": 12_000}},
    "log": {"every": 100, "eval_every": 500, "snapshot_every": 4000},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 15}, "train.steps": {"values": [12_000, 7_000]}},
}
LONGEST = 240.0  # seconds that a sweep may take, with all that befalls it
NODES = 4


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
PartitionName=all Nodes=n[1-{nodes}] Default=YES MaxTime=01:00:00 State=UP
"""


def no_slurm() -> str | None:
    """Why SLURM cannot be started here; None: it can."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurmctld slurmd slurm-client munge)"
    if os.geteuid():
        return "SLURM's daemons are started as root"
    return None if Path("/etc/munge/munge.key").exists() else "munge has no key"


@contextlib.contextmanager
def slurm(here: Path) -> Iterator[Path]:
    """A cluster whose state is in a folder; $SLURM_CONF names it meanwhile. Yields its configuration."""
    for folder in ("state", "spool", *(f"spool/n{at}" for at in range(1, NODES + 1))):
        (here / folder).mkdir()
    port, host = free_port(), socket.gethostname().split(".")[0]
    first = free_port(NODES)
    conf = here / "slurm.conf"
    conf.write_text(CONF.format(host=host, port=port, here=here, nodes=NODES, first=first, last=first + NODES - 1))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    _start_munge()
    daemons = [["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-N", f"n{at}"] for at in range(1, NODES + 1))]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(daemon, **quiet) for daemon in daemons]
    try:
        wait_for(lambda: idle_nodes() == NODES, "SLURM's nodes do not come up", 60)
        yield conf
    finally:
        subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
        with contextlib.suppress(TimeoutError, subprocess.CalledProcessError):
            wait_for(lambda: not jobs(), "the end of all jobs", 30)
        for process in reversed(started):
            process.kill()
            process.wait()
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
