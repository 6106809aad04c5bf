"""Ray: every chunk is a task, longest first. Ray places and retries them; the directory says which are done."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from grokjax.cluster.view import View
from grokjax.cluster.worker import Worker, WorkerError, open_worker, train_one
from grokjax.stopping import Interrupted
from grokjax.sweep.load import Mistake, SweepError

RETRIES = 8  # of a task whose worker died; without a limit a crash of its own making would repeat for ever
CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.5  # from one look at whether to stop to the next
STOP_SECONDS = 60.0  # that tasks have to end a segment when a stop is asked for
RESOURCES = {"cpu": "num_cpus", "gpu": "num_gpus", "tpu": "TPU"}
CLUSTER_PORT, CLIENT_PORT = "6379", "10001"
MISSING = "Ray is not installed here: pip install 'grokjax[ray]', on every node too"

Plan = Callable[..., Any]  # plans a sweep into a directory
_workers: dict[str, Worker] = {}  # of this process, by results directory: what it compiled is kept from task to task


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk. state: done | stopped | failed; text: who says so, and why."""

    chunk: int
    state: str
    text: str


def parse_per_worker(text: str | None) -> dict[str, float]:
    """`gpu=1` or `cpu=4,gpu=1` -> resources that each worker takes. Raises ValueError."""
    found: dict[str, float] = {}
    for part in text.split(",") if text else ():
        name, equals, amount = part.strip().partition("=")
        if name not in RESOURCES or not equals or not _is_positive(amount):
            raise ValueError(f"--per-worker is gpu=1, tpu=1 or cpu=4, not {text!r}")
        found[name] = float(amount)
    return found


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def task_options(per_worker: Mapping[str, float]) -> dict[str, Any]:
    """The options of a Ray task that takes these resources. It stays in its process (max_calls=0): a GPU's would end
    after one, and all that was compiled with it."""
    options: dict[str, Any] = {"max_calls": 0, "max_retries": RETRIES, "num_cpus": per_worker.get("cpu", 1)}
    if "gpu" in per_worker:
        options["num_gpus"] = per_worker["gpu"]
    if "tpu" in per_worker:
        options["resources"] = {"TPU": per_worker["tpu"]}
    return options


def connect(address: str | None) -> Any:
    """Ray, connected: to the cluster that this host is of, or to one by the address of its head, `ray://HOST:PORT`. The
    port is the cluster's own (6379) where this host is a node of it, or the client's (10001) from elsewhere.

    Raises ValueError where there is none.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise ValueError(MISSING) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    said = ["nothing listens there"]
    for place in _places(address):
        if ray.is_initialized():
            break
        try:
            ray.init(address=place, log_to_driver=False, configure_logging=False)
        except Exception as error:  # what Ray raises where nobody listens is no closed set
            said.append(str(error).splitlines()[0])
    if not ray.is_initialized():
        where = address or "this host (start one: ray start --head, or name one: --on ray://HOST:10001)"
        raise ValueError(f"no Ray cluster at {where}: {said[-1]}")
    return ray


def _places(address: str | None) -> list[str]:
    """What an address may mean to Ray, the likelier first."""
    if address is None:
        return ["auto"]
    host, colon, port = address.removeprefix("ray://").partition(":")
    if colon and port == CLIENT_PORT:
        return [f"ray://{host}:{port}"]
    places = {CLUSTER_PORT: "{host}:{port}", CLIENT_PORT: "ray://{host}:{port}"}
    meant = [(port or usual, form) for usual, form in places.items()]
    return [form.format(host=host, port=at) for at, form in meant if _listens(host, at)]


def _listens(host: str, port: str) -> bool:
    """Ray itself would try for a minute."""
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def plan_on_worker(ray: Any, plan: Plan, per_worker: Mapping[str, float], *arguments: Any) -> None:
    """Plan a sweep on a worker's device: the driver may have none. Raises SweepError."""
    cores = int(per_worker["cpu"]) if "cpu" in per_worker else None
    task = ray.remote(**task_options(per_worker))(_plan_here)
    mistakes = ray.get(task.remote(plan, cores, arguments))
    if mistakes:
        raise SweepError([Mistake(*mistake) for mistake in mistakes])


def _plan_here(plan: Plan, cores: int | None, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Mistakes of the sweep, as Ray's own pickling takes them."""
    from grokjax.planning import ask_for_devices

    ask_for_devices(cores)
    try:
        plan(*arguments)
    except SweepError as error:
        return [(one.file, one.line, one.col, one.key, one.what) for one in error.mistakes]
    return []


def train_on_workers(
    ray: Any,
    out: Path,
    chunks: Mapping[int, int],
    per_worker: Mapping[str, float],
    other_device: bool,
    view: View,
    stop: Callable[[], bool],
) -> None:
    """Train chunks, each by a task. view: is told what ends, and looks meanwhile.

    chunks: number -> how long it is, against the others. Raises WorkerError where some could not be trained, after all
    were tried; Interrupted where `stop()` asked for an end, when those at work have stopped.
    """
    from grokjax.results.bucket import name_of
    from grokjax.results.workers import may_go_on

    may_go_on(out)
    task = ray.remote(**task_options(per_worker))(_train_here)
    order = sorted(chunks, key=lambda index: -chunks[index])
    waiting = {task.remote(name_of(out.absolute()), index, other_device): index for index in order}
    failed: list[str] = []
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK_SECONDS)
        for ref in ready:
            outcome = _outcome(ray, ref, waiting.pop(ref))
            failed += [outcome.text] if outcome.state == "failed" else []
            view.say(f"{outcome.text}; {len(waiting):,} of {len(order):,} chunks to go")
        view.look()
        if stop():
            _stop(ray, out, list(waiting))
            raise Interrupted(out, f"grokjax work {name_of(out)}", name_of(out))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise WorkerError(f"{failed[0]}{more}; the same command tries again")


def _stop(ray: Any, out: Path, waiting: list[Any]) -> None:
    """Drop what waits, and let what trains end its segment: `ray.cancel` does not stop a task that runs."""
    from grokjax.results.workers import ask_to_stop

    ask_to_stop(out)
    for ref in waiting:
        with contextlib.suppress(Exception):  # what Ray says of a task that has just begun or ended
            ray.cancel(ref, force=False)
    if waiting:
        ray.wait(waiting, num_returns=len(waiting), timeout=STOP_SECONDS)


def _outcome(ray: Any, ref: Any, chunk: int) -> Outcome:
    try:
        return Outcome(*ray.get(ref))
    except ray.exceptions.RayError as error:
        return Outcome(chunk, "failed", f"chunk {chunk}: {str(error).strip().splitlines()[0]}")


def _train_here(where: str, index: int, other_device: bool) -> tuple[int, str, str]:
    """A task: train one chunk in this process, which keeps what it compiled for the next."""
    host = socket.gethostname()
    try:
        if where not in _workers:
            _workers[where] = open_worker(where, other_device, _explain, _quiet)
        train_one(_workers[where], index, lambda: False)
    except Interrupted:
        return index, "stopped", f"chunk {index}: stopped on {host}"
    except WorkerError as error:
        return index, "failed", str(error)
    except SweepError as error:
        return index, "failed", f"chunk {index} on {host}: {error}"
    return index, "done", f"chunk {index}: done on {host}"


def _explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error) or 'no more is known'}"


def _quiet(_: str) -> None: ...
