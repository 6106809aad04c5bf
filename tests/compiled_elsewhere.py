"""A process of its own that compiles a sweep's first program for an accelerator, and prints what was read of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from grokjax.cli.elsewhere import first_chunks, prepare


def main(sweep: str, name: str, lanes: str, kernel: str) -> None:
    prepare()
    from grokjax.aot.build import compile_for
    from grokjax.aot.targets import TARGETS, compile_device
    from grokjax.launch import load
    from grokjax.plan.plan import make_plan

    target = TARGETS[name]
    given = {"engine.lanes": int(lanes), "engine.kernel": kernel}
    chunk = first_chunks(make_plan(load(sweep, given), target.device("not here")))[0]
    compiled = compile_for(target, compile_device(target), chunk)
    found = {key: getattr(compiled, key) for key in ("trace", "compile", "lanes", "callbacks", "scatters", "loops")}
    found |= {
        "run_step": asdict(compiled.run_step),
        "memory": asdict(compiled.memory) | {"total": compiled.memory.total},
    }
    print(json.dumps(found | {"planned": compiled.bucket.memory, "least_seconds": compiled.least_seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
