#!/usr/bin/env python3
"""grokjax bench with PyTorch beside it: (a) an eager loop over runs, (b) torch.func over stacked runs, (c) plain
jax.vmap, all in the textbook form, and (d) grokjax; in one process, repeats interleaved.

Needs the extra `bench`: pip install -e '.[bench]'. Example: scripts/bench_peers.py --case nanda --json peers.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from grokjax.bench.cases import Data
from grokjax.bench.report import bench, chosen, local_device, write_json
from grokjax.plan.plan import Plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[], help="only cases that begin so; repeatable")
    parser.add_argument("--lanes", type=int, action="append", default=[], help="only so many lanes; repeatable")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    try:
        cases = chosen(options.case, options.lanes)
    except ValueError as error:
        parser.error(str(error))
    device = local_device()
    try:
        import torch_peers
    except ImportError as error:
        parser.error(f"{error}: pip install -e '.[bench]'")
    from grokjax.bench.contestants import CONTESTANTS, starting_values

    def peer(train: Callable) -> Callable[[Plan], Callable[[int], float]]:
        def contestant(plan: Plan) -> Callable[[int], float]:
            return train(plan.buckets[0].spec, starting_values(plan), Data.of(plan.chunks[0]))

        return contestant

    contestants = {"torch eager": peer(torch_peers.eager), "torch.func": peer(torch_peers.stacked)} | CONTESTANTS
    found = bench(cases, device, contestants, options.repeats)
    if options.json:
        write_json(found, options.json)


if __name__ == "__main__":
    main()
