#!/usr/bin/env python3
"""How much of its fair share of a busy machine's cores grokjax makes use of: the load is started here, as processes of
one busy thread each, of the same priority and session.

    python scripts/bench_shared.py --case transformer --lanes 4 --load 3 --load 9
    python scripts/bench_shared.py --run sweeps/quickstart.yaml --steps 500 --load 9

Alone, grokjax keeps T threads busy (CPU seconds over wall seconds). Beside B busy processes on C cores each of T + B
threads has a fair share of C / (T + B) cores, at most one, so the same work takes (T + B) / C times as long. The ratio
is the wall time under load over that time: 1 is all that can be had, and what spins or waits for another thread makes
it more. Repeats without and with load take turns; medians are printed. `--run` times whole commands, each compiling
anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:  # ends with the benchmark, however that ends
    for _ in range(1_000_000):
        pass
"""
SETTLE_SECONDS = 0.5  # until all of the load runs


@dataclass(frozen=True)
class Took:
    """What one call took. switches: context switches that its threads asked for, since they waited, and others."""

    wall: float
    cpu: float
    waited: int
    preempted: int


@dataclass(frozen=True)
class Shared:
    """One case at one load, medians. fair: wall seconds under load with a fair share."""

    case: str
    load: int
    cores: int
    alone: float
    threads: float
    fair: float
    under_load: float
    ratio: float
    cpu_alone: float
    cpu_under_load: float
    waited_alone: float
    waited_under_load: float


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many busy processes, for as long as the context lasts."""
    load = [subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in range(processes)]
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        for process in load:
            process.kill()
        for process in load:
            process.wait()


def timed(call: Callable[[], object], who: int) -> Took:
    """who: `resource.RUSAGE_SELF`, or RUSAGE_CHILDREN of a call that waits for a process of its own."""
    before, begin = resource.getrusage(who), time.perf_counter()
    call()
    wall, after = time.perf_counter() - begin, resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall, cpu, after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw)


def fair_seconds(wall: float, threads: float, load: int, cores: int) -> float:
    """Of work that alone takes `wall` seconds on so many threads."""
    return wall * max(1.0, (threads + load) / cores)


def measure(case: str, call: Callable[[], object], loads: list[int], repeats: int, who: int) -> list[Shared]:
    """Repeats without and with each load take turns."""
    cores = len(os.sched_getaffinity(0))
    took: dict[int, list[Took]] = {load: [] for load in [0, *loads]}
    for _ in range(repeats):
        for load, found in took.items():
            with busy(load):
                found.append(timed(call, who))

    def median(load: int, what: str) -> float:
        return statistics.median(getattr(one, what) for one in took[load])

    rows = []
    for load in loads:
        alone, under_load = median(0, "wall"), median(load, "wall")
        threads = min(cores, median(0, "cpu") / alone)
        fair = fair_seconds(alone, threads, load, cores)
        rows.append(
            Shared(
                case, load, cores, alone, threads, fair, under_load, under_load / fair,
                median(0, "cpu"), median(load, "cpu"), median(0, "waited"), median(load, "waited"),
            )
        )  # fmt: skip
    return rows


def training(name: str, lanes: int, seconds: float) -> Callable[[], None]:
    """Trains a case's network for so many steps that they take about `seconds` alone; compiled before."""
    from grokjax.bench.cases import planned
    from grokjax.bench.contestants import grokjax
    from grokjax.bench.report import chosen, local_device

    (case, *_) = chosen([name], [lanes])
    plan = planned(case.base, lanes, local_device())
    advance, most = grokjax(plan), plan.buckets[0].schedule.steps
    advance(1)
    steps = min(100, most)
    begin = time.perf_counter()
    advance(steps)
    calls = max(1, round(seconds / (time.perf_counter() - begin)))

    def train() -> None:
        for _ in range(calls):
            advance(steps)

    return train


def command(sweep: Path, steps: int | None) -> None:
    """The whole of `grokjax run`, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "grokjax.cli", "run", str(sweep), "--out", f"{folder}/out"]
        line += ["--set", f"train.steps={steps}"] if steps else []
        subprocess.run(line, env=os.environ | {"XDG_CACHE_HOME": folder}, check=True, stdout=subprocess.DEVNULL)


def text(row: Shared) -> str:
    return (
        f"{row.case:32}{row.load:5}{row.alone:9.2f}{row.threads:9.2f}{row.fair:9.2f}{row.under_load:9.2f}{row.ratio:7.2f}"
        f"{row.cpu_alone:9.2f}{row.cpu_under_load:9.2f}{row.waited_alone:9.0f}{row.waited_under_load:9.0f}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[], help="of grokjax bench, by its beginning; repeatable")
    parser.add_argument("--lanes", type=int, default=4, help="of a case")
    parser.add_argument("--seconds", type=float, default=4.0, help="that a case's training takes alone, about")
    parser.add_argument("--run", type=Path, help="a sweep: times `grokjax run` of it")
    parser.add_argument("--steps", type=int, help="train.steps of that sweep")
    parser.add_argument(
        "--load", type=int, action="append", default=[], help="busy processes; repeatable, default 3 and 9"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    loads = options.load or [3, 9]
    print(
        f"{'seconds':32}{'load':>5}{'alone':>9}{'threads':>9}{'fair':>9}{'loaded':>9}{'ratio':>7}"
        f"{'CPU':>9}{'loaded':>9}{'waits':>9}{'loaded':>9}"
    )
    rows: list[Shared] = []

    def show(found: list[Shared]) -> None:
        rows.extend(found)
        print("\n".join(map(text, found)), flush=True)

    if options.run:
        whole = lambda: command(options.run, options.steps)  # noqa: E731
        show(measure(f"run {options.run.name}", whole, loads, options.repeats, resource.RUSAGE_CHILDREN))
    for name in options.case or ([] if options.run else ["transformer", "nanda"]):
        train = training(name, options.lanes, options.seconds)
        show(measure(f"{name}, {options.lanes} lanes", train, loads, options.repeats, resource.RUSAGE_SELF))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
