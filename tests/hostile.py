"""What tests of files from elsewhere share: a small sweep, commands that must not crash, a folder nobody may touch."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bits import BASE
from typer.testing import CliRunner, Result

import grokjax
from grokjax.cli import app
from grokjax.results.files import read_json, write_json, write_sealed
from grokjax.results.formats import in_one_file
from grokjax.results.manifest import read_manifest
from grokjax.results.write import seal_table

SWEEP = {
    "base": BASE | {"train": {"steps": 20}},
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 10},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 3}},
}
LONG = SWEEP | {"base": BASE}


@contextmanager
def precious(folder: Path) -> Iterator[Path]:
    """A folder of somebody's, that nothing may touch."""
    for name in ("precious.txt", "chunk-00000-segment-000000.parquet", "segment-000001.json", "1/file", ".old.part"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("precious")
    before = state(folder)
    yield folder
    assert state(folder) == before


def state(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def invoke(*words: Any) -> Result:
    """A command; however it ends, it is not with a traceback."""
    said = CliRunner().invoke(app, [str(word) for word in words])
    assert said.exception is None or isinstance(said.exception, SystemExit), (words, said.exception)
    assert said.exit_code in (0, 1, 2), said.output
    return said


def reads(out: Path) -> list[Result]:
    """Every command that reads a results directory, and the one that repairs it."""
    run_id = "none"
    with suppress(Exception):  # of a plan that is none
        run_id = first_run(out)
    commands = [["status", out], ["export", out, "--out", out.parent / "table.csv"]]
    commands += [["params", out, run_id, "--out", out.parent / "params.safetensors"], ["verify", out]]
    return [invoke(*command) for command in commands]


def committed_anew(path: Path) -> None:
    """The commit beside a changed file, changed too, by someone who knows how that is done."""
    commit = read_json(path.with_name("done.json"))
    commit["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_json(path.with_name("done.json"), commit)


def first_run(out: Path) -> str:
    return grokjax.open_results(out).run_ids[0]


def in_one_file_now(out: Path) -> None:
    """The plan as the format before had it: all in plan.json."""
    head, table = read_json(out / "plan.json"), read_manifest(out).table
    del head["shards"]
    write_json(out / "plan.json", in_one_file(head, table))
    shutil.rmtree(out / "plan")


def rewritten(out: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """plan.json, changed by someone who knows how it is sealed."""
    value = read_json(out / "plan.json")
    write_json(out / "plan.json", change(value) or value)


def rows_rewritten(out: Path, change: Callable[[dict[str, list[Any]]], Any]) -> None:
    """The runs of a plan that lie in one shard, changed by someone who knows how it is sealed and named."""
    (shard,) = (out / "plan").iterdir()
    table = pq.read_table(shard)
    rows = {name: table[name].to_pylist() for name in table.column_names}
    change(rows)
    types = {name: table.schema.field(name).type for name in table.column_names}
    changed = seal_table(pa.table({name: pa.array(rows[name], types.get(name)) for name in rows}), {})
    write_sealed(shard, lambda temporary: pq.write_table(changed, temporary))
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    rewritten(out, lambda plan: plan["shards"][0].update(sha256=digest, rows=len(changed)))
