"""A sweep to its plan on this machine: what JAX needs before it starts, the devices, and what fits in their memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from grokjax.home import can_be_made
from grokjax.plan.growth import extend
from grokjax.plan.plan import Device, Plan, make_plan
from grokjax.plan.tuning import Tuned, cache_folder, read_tuning
from grokjax.spec.identity import program_key
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.run import Sweep

if TYPE_CHECKING:
    from grokjax.results.manifest import Manifest


def prepare_jax(cores: int | None = None) -> None:
    """JAX as training needs it. What was compiled is kept for this user, by kind of machine, where there is room.

    cores: as for `ask_for_devices`.
    """
    ask_for_devices(cores)
    from grokjax.engine.devices import keep_compiled

    if can_be_made(cache_folder()):
        keep_compiled(cache_folder())


def ask_for_devices(cores: int | None = None) -> None:
    """Settings that JAX reads when it starts.

    No GPU kernel may depend on timing or atomics. Each CPU core is a device: small matmuls of one lane run faster on
    one core than divided over several. cores: so many, whatever this process has: those that a plan was made for.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = {"xla_gpu_deterministic_ops": "true", "xla_force_host_platform_device_count": str(cores)}
    missing = [f"--{name}={value}" for name, value in wanted.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([*flags.split(), *missing])


def plan_sweep(
    sweep: Sweep,
    say: Callable[[str], None] | None = None,
    stored: Manifest | None = None,
    workers: int = 0,
    trains: bool = True,
) -> Plan:
    """The plan of a sweep on this machine's devices, by the tuning table of this user.

    say: is told where a plan does not fit into memory, so that it is made again with half the lanes; None: not tried.
    stored: of a results directory whose sweep this one is, or adds runs to: its chunks stay as they are. workers: as
    for `make_plan`. trains: what is planned is trained here. Raises SweepError where the sweep is another, and where
    that cannot be.
    """
    prepare_jax()
    if trains:
        check_matmuls((run.spec.numerics.matmul for run in sweep.runs), sweep.file)
    from grokjax.engine.devices import describe_device

    device = describe_device()
    tuning = read_tuning(device.text)

    def plan_new(sweep: Sweep, continues: dict[str, str]) -> Plan:
        return _fitting(sweep, device, tuning, continues, say, workers)

    if stored:
        return extend(stored.plan_with(sweep.families), sweep, plan_new, str(stored.path.parent))
    return plan_new(sweep, {})


def _fitting(
    sweep: Sweep,
    device: Device,
    tuning: Mapping[str, Tuned],
    continues: dict[str, str],
    say: Callable[[str], None] | None,
    workers: int,
) -> Plan:
    """A plan whose chunks fit into memory, as far as that is tried."""
    from grokjax.engine.memory import fits

    most_lanes: dict[str, int] = {}
    while True:
        plan = make_plan(sweep, device, tuning, most_lanes, continues, workers)
        first = {chunk.bucket.index: chunk for chunk in reversed(plan.chunks)}
        large = next((chunk for chunk in first.values() if say and not fits(chunk, device)), None)
        if large is None or say is None:
            return plan
        width = large.bucket.width
        if width <= device.count:
            raise MemoryError(
                f"a single run of bucket {large.bucket.index} does not fit into the memory of {device.text}"
            )
        say(f"bucket {large.bucket.index} is out of device memory with {width} lanes; planned again with {width // 2}")
        most_lanes[program_key(large.bucket.spec)] = width // 2


def measure_plan(plan: Plan) -> dict[int, float]:
    """bucket -> seconds a run-step, from a short segment of its first chunk at the plan's width."""
    from grokjax.engine.measure import run_step_seconds

    chunks = {chunk.bucket.index: chunk for chunk in reversed(plan.chunks)}
    return {index: run_step_seconds(chunk, plan.device.count) for index, chunk in sorted(chunks.items())}


def matmul_notes(asked: Iterable[str]) -> list[str]:
    """Of what runs ask for as `numerics.matmul`, the dot algorithms that this machine's devices lack, in words."""
    from grokjax.engine.devices import describe_device
    from grokjax.engine.matmuls import missing

    return [f"{describe_device().text} {why}" for matmul in dict.fromkeys(asked) if (why := missing(matmul))]


def check_matmuls(asked: Iterable[str], file: str) -> None:
    """Raises SweepError where devices here lack a dot algorithm that runs need. file: of the sweep or its results."""
    notes = matmul_notes(asked)
    if notes:
        raise SweepError(Mistake(file, 0, 0, "numerics.matmul", note) for note in notes)


def machine_notes(device: Device) -> list[str]:
    """What is amiss here: an accelerator that the installed JAX cannot use; no place for what is compiled."""
    from grokjax.engine.devices import idle_accelerator

    warning, folder = idle_accelerator(device), cache_folder()
    unkept = f"{folder} cannot be written, so what is compiled is not kept; $XDG_CACHE_HOME names another place"
    return [*([warning] if warning else []), *([] if can_be_made(folder) else [unkept])]
