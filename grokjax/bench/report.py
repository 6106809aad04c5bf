"""The whole bench: cases by lanes by contestants, the cost of logging, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from grokjax.bench.cases import CASES, Case, planned
from grokjax.bench.contestants import CONTESTANTS, Contestant
from grokjax.bench.measure import Timing, logging_cost, measure, roofline
from grokjax.engine.matmuls import available
from grokjax.plan.plan import Device, lane_bytes
from grokjax.planning import prepare_jax
from grokjax.sweep.spelling import did_you_mean

MOST_LANES = 4096  # tried where memory has room for more
HEAD = f"{'case':24}{'lanes':>6}  {'':18}{'ms/run-step':>12}{'run-steps/s':>13}" + (
    f"{'GFLOP/s':>9}{'roofline':>10}{'compile':>9}{'memory':>9}"
)


def local_device() -> Device:
    """The device that JAX computes on here."""
    prepare_jax()
    from grokjax.engine.devices import describe_device

    return describe_device()


def chosen(names: Iterable[str], lanes: Iterable[int] = ()) -> list[Case]:
    """Cases whose name begins with one of `names`, all without; at their own numbers of lanes, or at `lanes`.
    Raises ValueError for a name that none begins with."""
    names = list(names)
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise ValueError(f"no case {name!r}{did_you_mean(name, [case.name for case in CASES])}; there are: "
                             + ", ".join(case.name for case in CASES))  # fmt: skip
    cases = [case for case in CASES if not names or any(case.name.startswith(name) for name in names)]
    return [replace(case, lanes=tuple(lanes) or case.lanes) for case in cases]


def bench(
    cases: Iterable[Case],
    device: Device,
    contestants: Mapping[str, Contestant] = CONTESTANTS,
    repeats: int = 5,
    full: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, saying each row as it is found; what is returned is JSON. full: with highest, the fast matmul mode and
    the dot algorithms that the device has, and lanes up to its memory."""
    modes = ("highest", "default", *available()) if full else ("highest",)
    limits = {matmul: roofline(device, matmul) for matmul in modes}
    say(f"{device.text}, {date.today()}")
    for matmul, limit in limits.items():
        say(f"roofline, float32 matmul {matmul}: {limit / 1e9:,.0f} GFLOP/s")
    say(HEAD)
    rows: list[Timing] = []
    logging = {}
    for case in cases:
        for matmul in modes:
            for lanes in _lanes(case, device, full):
                timings = measure(case, lanes, device, contestants, matmul, repeats)
                rows += timings
                for row in timings:
                    say(timing_text(row, timings[-1]))
        logging[case.name] = logging_cost(case, _best_lanes(rows, case), device, repeats)
        say(f"{case.name:24}{_best_lanes(rows, case):6}  logging costs {logging[case.name]:.1%}")
    return {
        "device": asdict(device),
        "date": str(date.today()),
        "roofline_gflops": {matmul: limit / 1e9 for matmul, limit in limits.items()},
        "rows": [asdict(row) for row in rows],
        "logging_share": logging,
    }


def _lanes(case: Case, device: Device, full: bool) -> list[int]:
    if not full:
        return list(case.lanes)
    lane = lane_bytes(planned(case.base, 1, device).buckets[0].spec, device)
    lanes = [case.lanes[0]]
    while lanes[-1] * 4 * lane <= 0.6 * device.memory * device.count and lanes[-1] < MOST_LANES:
        lanes.append(lanes[-1] * 4)
    return lanes


def _best_lanes(rows: list[Timing], case: Case) -> int:
    """Where grokjax, the last contestant, was fastest."""
    ours = [row for row in rows if row.case == case.name and row.contestant == rows[-1].contestant]
    return min(ours, key=lambda row: row.ms_per_run_step).lanes


def timing_text(timing: Timing, grokjax: Timing) -> str:
    slower = timing.ms_per_run_step / grokjax.ms_per_run_step
    name = timing.contestant + {"highest": "", "default": " fast"}.get(timing.matmul, f" {timing.matmul}")
    return (
        f"{timing.case:24}{timing.lanes:6}  {name:18}{timing.ms_per_run_step:12.4g}{timing.run_steps_per_second:13,.0f}"
        f"{timing.useful_gflops:9,.0f}{timing.roofline_share:10.0%}{timing.compile_seconds:7.1f} s"
        f"{timing.peak_bytes / 1e9:6.2f} GB" + (f"  grokjax is {slower:.1f}x as fast" if timing is not grokjax else "")
    )


def write_json(results: dict[str, Any], path: Path) -> None:
    """Write what `bench` returned."""
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
