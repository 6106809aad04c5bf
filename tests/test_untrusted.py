"""Files from elsewhere run no code, lead nowhere outside the results directory, and end in an error in words."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bits import BASE, bits, often, write
from hostile import (
    SWEEP,
    committed_anew,
    first_run,
    in_one_file_now,
    invoke,
    precious,
    reads,
    rewritten,
    rows_rewritten,
)  # fmt: skip

import grokjax
from grokjax.launch import train
from grokjax.results.chunk_plan import chunk_plan
from grokjax.results.files import BLANK, RUN_ID, Damaged, read_json, seal, write_json, write_sealed
from grokjax.results.manifest import read_manifest
from grokjax.results.write import seal_table
from grokjax.sweep.expand import load_sweep


@pytest.fixture(scope="module", autouse=True)
def _often() -> Iterator[None]:
    with often():
        yield


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    with precious(tmp_path / "outside") as folder:
        yield folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrusted")
    train(load_sweep(write(folder, SWEEP)), folder / "out")
    return folder / "out"


@pytest.fixture
def out(tmp_path: Path, ended: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "out"))


# --- YAML -----------------------------------------------------------------------------------------------------

NAMES = "abcdefghijklmnop"
LAUGHS = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [{', '.join(9 * [f'*{a}'])}]\n" for a, b in pairwise(NAMES[:9]))
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{x: {{<<: *{a}}}, y: {{<<: *{a}}}, z: *{a}}}\n" for a, b in pairwise(NAMES)
)
YAML = {
    "code": "base: !!python/object/apply:os.system ['touch HERE']\n",
    "code in a name": "name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [HERE]]\n",
    "a module": "base: {seed: !!python/module:os ''}\n",
    "a class": "base: {seed: !!python/name:os.system ''}\n",
    "an object": "base: !!python/object/new:subprocess.Popen {args: [[touch, HERE]]}\n",
    "aliases of aliases": LAUGHS + "base: *i\n",
    "merges of merges": MERGES + "base: *p\n",
    "an alias in itself": "base: &a {seed: 1, task: *a}\n",
    "deep lists": f"base: {'[' * 700}{']' * 700}\n",
    "deep mappings": f"base: {'{a: ' * 1000}1{'}' * 1000}\n",
    "a huge number": f"base: {{seed: {'9' * 100_000}}}\n",
    "a huge power": "base: {train: {steps: 1e400}}\n",
    "many runs": "parameters: {seed: {min: 0, max: 99999999999999}}\n",
    "a name that leads out": "name: ../../x\n",
    "an absolute name": "name: /HERE\n",
    "a name of dots": "name: ..\n",
    "a name with a zero byte": 'name: "a\\0b"\n',
    "a name of two lines": 'name: "a\\nb"\n',
    "a name with a folder": "name: a/b\n",
    "a file with a zero byte": 'base: {init: {from_file: "a\\0b"}}\n',
    "a parent with a zero byte": 'base: {init: {from_run: {results: "a\\0b", run: x}}}\n',
    "a parent that leads out": "base: {init: {from_run: {results: ., run: ../../x}}}\n",
    "an endless file": "base: {init: {from_file: /dev/zero}}\n",
    "an endless parent": "base: {init: {from_run: {results: /dev/zero, run: x}}}\n",
}


@pytest.mark.parametrize("case", YAML)
def test_a_hostile_sweep_file_is_bad_input_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(YAML[case].replace("HERE", str(tmp_path / "made")))
    for command in ("plan", "run"):
        said = invoke(command, "sweep.yaml")
        assert said.exit_code == 2, said.output
        assert "sweep.yaml:" in said.stderr
        assert len(said.stderr) < 5000
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


# --- plan.json ------------------------------------------------------------------------------------------------


def renamed(manifest: dict[str, Any], name: Any) -> dict[str, Any]:
    old = manifest["runs"][0]
    return json.loads(json.dumps(manifest).replace(json.dumps(old), json.dumps(name)))


def runs_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The columns of its only bucket."""
    (bucket,) = manifest["buckets"]
    return bucket["runs"]


def continuing(manifest: dict[str, Any], *at: int) -> dict[str, str]:
    """Each run goes on with the other."""
    one, other = (manifest["runs"][index] for index in at)
    return {one: other, other: one}


PLANS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a run id that leads out": lambda plan: renamed(plan, "../../outside/x"),
    "an absolute run id": lambda plan: renamed(plan, "/etc/passwd"),
    "a pattern as run id": lambda plan: renamed(plan, "*"),
    "a number as run id": lambda plan: renamed(plan, 7),
    "a run id of another run": lambda plan: renamed(plan, "0123456789ab"),
    "a run that no bucket has": lambda plan: plan["runs"].append("0123456789ab"),
    "a run twice in the sweep": lambda plan: plan["runs"].append(plan["runs"][0]),
    "a run twice in a bucket": lambda plan: runs_of(plan)["run_id"].__setitem__(1, runs_of(plan)["run_id"][0]),
    "a bucket of unknown runs": lambda plan: runs_of(plan)["run_id"].append("0123456789ab"),
    "a chunk of more runs than there are": lambda plan: plan["chunks"][0].update(runs=5),
    "a chunk of no runs": lambda plan: plan["chunks"].append({"bucket": 0, "runs": 0}),
    "a chunk of fewer than no runs": lambda plan: plan["chunks"].extend({"bucket": 0, "runs": n} for n in (2, -2)),
    "a chunk of a list of runs": lambda plan: plan["chunks"][0].update(runs=plan["runs"]),
    "runs in two chunks": lambda plan: plan["chunks"].append(plan["chunks"][0]),
    "a bucket that is not there": lambda plan: plan["chunks"][0].update(bucket=9),
    "a bucket from the end": lambda plan: plan["chunks"][0].update(bucket=-1),
    "a bucket that is a path": lambda plan: plan["chunks"][0].update(bucket="../x"),
    "a run that continues itself": lambda plan: plan["continues"].update(continuing(plan, 0, 0)),
    "runs that continue each other": lambda plan: plan["continues"].update(continuing(plan, 0, 1)),
    "no runs": lambda plan: plan.update(runs=[]),
    "no buckets": lambda plan: plan.update(buckets=[]),
    "text for runs": lambda plan: plan.update(runs="../../x"),
    "values that are none": lambda plan: runs_of(plan).update(columns=[1]),
    "a column that is too short": lambda plan: runs_of(plan)["columns"]["seed"].remove(0),
    "a column that is too long": lambda plan: runs_of(plan)["columns"]["seed"].append(9),
    "values of no run": lambda plan: runs_of(plan)["partial"].update({"seed": {"rows": [4], "values": [1]}}),
    "values of a run from the end": lambda plan: runs_of(plan)["partial"].update(
        {"optimizer.lr_by_matrix.W.0": {"rows": [-1], "values": [1.0]}}
    ),
    "fewer arms than runs": lambda plan: runs_of(plan)["arms"].remove(["main"]),
    "keys that are paths": lambda plan: runs_of(plan)["common"].update({"../../x": 1, "a.b.c": 2}),
    "keys that are none of its runs'": lambda plan: plan["keys"].append("../../x"),
    "another format": lambda plan: plan.update(format="../4"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_a_hostile_plan_is_refused_and_leads_nowhere(tmp_path: Path, out: Path, outside: Path, case: str):
    """All in one file, as the format before had it."""
    in_one_file_now(out)
    rewritten(out, PLANS[case])
    refused(tmp_path, out)


def refused(tmp_path: Path, out: Path) -> None:
    said = reads(out)
    assert said[-1].exit_code in (1, 2), said[-1].output
    assert re.search("plan.json|plan/runs-", said[-1].stderr)
    assert invoke("verify", out, "--repair").exit_code in (1, 2)
    assert invoke("run", write(tmp_path, SWEEP), "--out", out).exit_code in (1, 2)


Rows = dict[str, list[Any]]


def swapped(rows: Rows, name: str, values: dict[int, Any]) -> None:
    for at, value in values.items():
        rows[name][at] = value


def shard_named(**change: Any) -> Callable[[Path], None]:
    return lambda out: rewritten(out, lambda plan: plan["shards"][0].update(change))


def in_rows(change: Callable[[Rows], Any]) -> Callable[[Path], None]:
    return lambda out: rows_rewritten(out, change)


def in_plan(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda out: rewritten(out, change)


SHARDS: dict[str, Callable[[Path], None]] = {
    "a shard that leads out": shard_named(name="../../outside/precious.txt"),
    "an absolute shard": shard_named(name="/etc/passwd"),
    "a shard that is a number": shard_named(name=7),
    "a shard of no rows": shard_named(rows=0),
    "a shard of fewer than no rows": shard_named(rows=-4),
    "a shard of more rows": shard_named(rows=5),
    "a shard of other content": shard_named(sha256="0" * 64),
    "a shard twice": in_plan(lambda plan: plan["shards"].append(plan["shards"][0])),
    "no shards": in_plan(lambda plan: plan.update(shards=[])),
    "shards that are text": in_plan(lambda plan: plan.update(shards="../x")),
    "a chunk of more runs than there are": in_plan(lambda plan: plan["chunks"][0].update(runs=5)),
    "a chunk of fewer than no runs": in_plan(
        lambda plan: plan["chunks"].extend({"bucket": 0, "runs": n} for n in (2, -2))
    ),
    "a bucket from the end": in_plan(lambda plan: plan["chunks"][0].update(bucket=-1)),
    "keys that are paths": in_plan(lambda plan: plan["buckets"][0]["common"].update({"../../x": 1, "a.b.c": 2})),
    "a value that all share, and one has": in_plan(lambda plan: plan["buckets"][0]["common"].update(seed=1)),
    "a run id that leads out": in_rows(lambda rows: swapped(rows, "run_id", {0: "../../outside/x"})),
    "a pattern as run id": in_rows(lambda rows: swapped(rows, "run_id", {0: "*"})),
    "a run id with a line after it": in_rows(lambda rows: swapped(rows, "run_id", {0: rows["run_id"][0] + "\n"})),
    "no run id": in_rows(lambda rows: swapped(rows, "run_id", {0: None})),
    "a run id of another run": in_rows(lambda rows: swapped(rows, "run_id", {0: "0123456789ab"})),
    "a run twice": in_rows(lambda rows: swapped(rows, "run_id", {0: rows["run_id"][1]})),
    "a run in no place": in_rows(lambda rows: swapped(rows, "place", {0: 9})),
    "two runs in a place": in_rows(lambda rows: swapped(rows, "place", {0: rows["place"][1]})),
    "a place before the first": in_rows(lambda rows: swapped(rows, "place", {0: -2})),
    "no run in a place": in_rows(lambda rows: rows.update(place=[None] * 4)),
    "a run that continues itself": in_rows(lambda rows: swapped(rows, "continues", {0: rows["run_id"][0]})),
    "runs that continue each other": in_rows(
        lambda rows: swapped(rows, "continues", {0: rows["run_id"][1], 1: rows["run_id"][0]})
    ),
    "a run that continues none": in_rows(lambda rows: swapped(rows, "continues", {0: "0123456789ab"})),
    "a run that continues a path": in_rows(lambda rows: swapped(rows, "continues", {0: "../../outside"})),
    "arms that are text": in_rows(lambda rows: swapped(rows, "arms", {0: '"../x"'})),
    "no arms": in_rows(lambda rows: swapped(rows, "arms", {0: None})),
    "a value that is no JSON": in_rows(lambda rows: swapped(rows, "seed", {0: "../x"})),
    "a value deeper than can be read": in_rows(lambda rows: swapped(rows, "seed", {0: 100_000 * "["})),
    "a value that is missing": in_rows(lambda rows: swapped(rows, "seed", {0: None})),
    "a seed that is text": in_rows(lambda rows: swapped(rows, "seed", {0: '"../x"'})),
    "a number without end": in_rows(lambda rows: swapped(rows, "seed", {0: str(10**30)})),
    "a parent that is none": in_rows(lambda rows: swapped(rows, "origin", {0: '{"begun": "x"}'})),
    "a column too many": in_rows(lambda rows: rows.update({"../../x": ["1"] * 4})),
    "a column of numbers": in_rows(lambda rows: rows.update({"train.steps": [1] * 4})),
    "a column too few": in_rows(lambda rows: rows.pop("seed")),
    "no places": in_rows(lambda rows: rows.pop("place")),
}


@pytest.mark.parametrize("case", SHARDS)
def test_hostile_runs_of_a_plan_are_refused_and_lead_nowhere(tmp_path: Path, out: Path, outside: Path, case: str):
    SHARDS[case](out)
    refused(tmp_path, out)
    with pytest.raises((Damaged, grokjax.SweepError)):
        _ = read_manifest(out).plan
    with suppress(Damaged, grokjax.SweepError):  # what a worker does not look at it takes no harm from
        assert all(RUN_ID.fullmatch(run.run_id) for run in chunk_plan(out, 0).runs)


def test_a_name_in_a_plan_is_only_shown(out: Path, outside: Path):
    rewritten(out, lambda plan: plan.update(name="../outside"))
    assert [said.exit_code for said in reads(out)] == [0, 0, 0, 0]


@pytest.mark.parametrize("one_file", [False, True])
def test_plans_with_anything_anywhere_end_in_words(out: Path, outside: Path, one_file: bool):
    if one_file:
        in_one_file_now(out)
    plan, rng = read_json(out / "plan.json"), random.Random(5)
    junk = [None, -1, 10**30, 1.5, True, "../../outside/precious.txt", "", [], {}, [[]], {"a": 1}, "\0"]
    codes = set()
    for _ in range(70):
        changed = json.loads(json.dumps(plan))
        node, key = rng.choice([place for place in _places(changed) if place[1] not in ("sweep", "text")])
        if rng.random() < 0.3:
            del node[key]
        else:
            node[key] = rng.choice(junk)
        write_json(out / "plan.json", changed)
        for command in ("verify", "status"):
            said = invoke(command, out)
            assert said.exit_code == 0 or re.search("plan.json|plan/runs-", said.stderr), (command, node, key)
            codes.add(said.exit_code)
    assert codes == {0, 1, 2}  # names and times may be anything; what is read from may not


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def test_a_sweep_whose_text_looks_like_a_checksum_is_read_all_the_same(tmp_path: Path, out: Path):
    rewritten(out, lambda plan: plan.update(sweep=f"# {BLANK} grokjax-sha256:\n" + plan["sweep"]))
    (out / "sweep.yaml").write_text(read_json(out / "plan.json")["sweep"])
    assert invoke("verify", out).exit_code == 0


# --- records --------------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def extended(table: pa.Table, path: Path) -> pa.Table:
    """A column of the type that older Arrows unpickled."""
    bomb = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Bomb(path))}
    column = pa.field("train/loss", pa.float32(), metadata=bomb)
    return table.set_column(table.schema.get_field_index("train/loss"), column, table["train/loss"])


def with_ids(table: pa.Table, name: str) -> pa.Table:
    ids = pa.array([name] * len(table), pa.string()).dictionary_encode()
    return table.set_column(0, "run_id", ids)


def with_end(meta: dict[str, Any], **values: Any) -> dict[str, Any]:
    return meta | {"ends": [{"run_id": "x", "step": 20, "diverged": False, "matrix": None} | values]}


RECORDS: dict[str, Callable[[pa.Table, dict[str, Any]], tuple[pa.Table, dict[str, Any]]]] = {
    "run ids that lead out": lambda table, meta: (with_ids(table, "../../outside/x"), meta),
    "unknown run ids": lambda table, meta: (with_ids(table, "0123456789ab"), meta),
    "steps that are text": lambda table, meta: (table.set_column(1, "step", table["step"].cast(pa.string())), meta),
    "no steps": lambda table, meta: (table.drop_columns("step"), meta),
    "a metric of objects": lambda table, meta: (table.append_column("x", pa.array([b"\x80"] * len(table))), meta),
    "a metric twice": lambda table, meta: (table.append_column("train/loss", table["train/loss"]), meta),
    "another chunk": lambda table, meta: (table, meta | {"chunk": 7}),
    "a chunk that is a path": lambda table, meta: (table, meta | {"chunk": "../../x"}),
    "no ends": lambda table, meta: (table, {key: meta[key] for key in meta if key != "ends"}),
    "an end that leads out": lambda table, meta: (table, with_end(meta, run_id="../../outside/x")),
    "an end that is text": lambda table, meta: (table, with_end(meta, step="20")),
    "ends of nothing": lambda table, meta: (table, meta | {"ends": [None]}),
}


@pytest.mark.parametrize("case", [*RECORDS, "no table"])
def test_hostile_records_are_named_and_lead_nowhere(out: Path, outside: Path, case: str):
    (path,) = out.glob("chunks/*/*/curves-*")
    if case == "no table":
        write_sealed(path, lambda part: part.write_text(f"PAR1 nothing {BLANK} PAR1"))
    else:
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[b"grokjax"])
        table, meta = RECORDS[case](table.replace_schema_metadata(None), {**meta, "seal": BLANK})
        write_sealed(path, lambda part: pq.write_table(seal_table(table, meta), part))
    committed_anew(path)
    said = reads(out)
    assert said[-1].exit_code == 1
    assert path.name in said[-1].stderr
    assert "verify" in said[0].stderr or said[0].exit_code == 0
    if "run ids" in case:
        assert path.name in said[1].stderr  # export


def test_nothing_in_a_table_is_unpickled(tmp_path: Path, out: Path):
    for path in [*out.glob("chunks/*/*/*.parquet"), out / "runs.parquet"]:
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[b"grokjax"]) | {"seal": BLANK}
        table = extended(table, tmp_path / "made") if "train/loss" in table.column_names else table
        pandas = {b"pandas": json.dumps({"columns": [{"pandas_type": "object", "numpy_type": "object"}]}).encode()}
        sealed = seal_table(table, meta)
        sealed = sealed.replace_schema_metadata({**(sealed.schema.metadata or {}), **pandas})
        write_sealed(path, lambda part, sealed=sealed: pq.write_table(sealed, part))
    reads(out)
    assert not (tmp_path / "made").exists()


# --- commits --------------------------------------------------------------------------------------------------

COMMITS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "an attempt that is a path": lambda commit: commit | {"attempt": "../../../outside"},
    "an attempt that is a number": lambda commit: commit | {"attempt": 7},
    "files elsewhere": lambda commit: commit | {"files": {"../../../../outside/precious.txt": "0" * 64}},
    "files that are numbers": lambda commit: commit | {"files": {"x": 1}},
    "another chunk": lambda commit: commit | {"chunk": 7},
    "no steps": lambda commit: commit | {"steps": []},
    "steps that are text": lambda commit: commit | {"steps": ["../x"] * len(commit["steps"])},
    "runs that are paths": lambda commit: commit | {"run_ids": ["../../../../x"] * len(commit["steps"])},
    "metrics that are none": lambda commit: commit | {"metrics": [None]},
    "a format to come": lambda commit: commit | {"format": 99},
    "nothing": lambda commit: {},
    "more": lambda commit: commit | {"more": 1},
}


@pytest.mark.parametrize("case", COMMITS)
def test_hostile_commits_are_named_and_lead_nowhere(tmp_path: Path, out: Path, outside: Path, case: str):
    (path,) = out.glob("chunks/*/*/done.json")
    wanted = bits(out)
    write_json(path, COMMITS[case](read_json(path)))
    for said in reads(out):
        assert said.exit_code == 1, said.output
        assert str(path) in said.stderr
    assert invoke("verify", out, "--repair").exit_code == 0
    assert bits(out) == wanted


# --- summaries ------------------------------------------------------------------------------------------------

SUMMARIES: dict[str, Callable[[pa.Table, dict[str, Any]], tuple[pa.Table, dict[str, Any]]]] = {
    "no stamp": lambda table, meta: (table, {}),
    "no runs": lambda table, meta: (table.drop_columns("run_id"), meta),
    "no events": lambda table, meta: (table.drop_columns("events"), meta),
    "events that are text": lambda table, meta: (
        table.drop_columns("events").append_column("events", pa.array(["../x"] * len(table))), meta,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SUMMARIES)
def test_a_summary_that_makes_no_sense_is_not_read_and_its_records_are(out: Path, outside: Path, case: str):
    wanted = bits(out)
    (path,) = out.glob("chunks/*/*/summary-*")
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"grokjax"])
    table, meta = SUMMARIES[case](table.replace_schema_metadata(None), meta)
    write_sealed(path, lambda part: pq.write_table(seal_table(table, {**meta, "seal": BLANK}), part))
    for name in ("runs.parquet", "events.parquet"):
        (out / name).unlink()
    assert invoke("status", out).exit_code == 0
    assert bits(out) == wanted


# --- snapshots ------------------------------------------------------------------------------------------------

Header = dict[str, Any]


def reheaded(path: Path, change: Callable[[Header, list[Header]], Any], text: str | None = None) -> None:
    """A snapshot file with another header, sealed."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    rows = json.loads(header["__metadata__"]["rows"])
    change(header, rows)
    header["__metadata__"] = {"seal": BLANK, "rows": json.dumps(rows)}
    new = (text or json.dumps(header)).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])
    seal(path, path.name, 8 + len(new))


def moved(header: Header, _: list[Header]) -> None:
    one, other = [name for name in header if name.startswith("params/")][:2]
    header[one]["data_offsets"] = header[other]["data_offsets"]


def leading_out(header: Header, _: list[Header]) -> None:
    name = next(name for name in header if name.startswith("params/"))
    header["../../outside/x"] = header.pop(name)


SNAPSHOTS: dict[str, Callable[[Header, list[Header]], Any]] = {
    "offsets that overlap": moved,
    "offsets past the end": lambda header, rows: header["params/W.0"].update(data_offsets=[0, 10**12]),
    "a shape below zero": lambda header, rows: header["params/W.0"].update(shape=[len(rows), -14, -16]),
    "a shape of nothing": lambda header, rows: header["params/W.0"].update(shape=[]),
    "a dtype of objects": lambda header, rows: header["params/W.0"].update(dtype="O"),
    "names that lead out": leading_out,
    "a row that is a path": lambda header, rows: rows[0].update(path="../../outside/precious.txt"),
    "a run id that leads out": lambda header, rows: rows[0].update(run_id="../../outside/x"),
    "a step that is text": lambda header, rows: rows[0].update(step="../x"),
    "more rows": lambda header, rows: rows.append(rows[0]),
    "no rows": lambda header, rows: rows.clear(),
}
DUPLICATE = f'{{"__metadata__": {{"rows": "[]", "seal": "{BLANK}"}}, "a": 1, "a": 2}}'
TEXTS = {
    "a name twice": DUPLICATE,
    "a deep header": f'{{"seal": "{BLANK}", "a": {"[" * 10**5}',
    "a list": f'["{BLANK}"]',
}


@pytest.mark.parametrize("case", [*SNAPSHOTS, *TEXTS, "an endless header"])
def test_hostile_snapshots_are_named_and_lead_nowhere(out: Path, outside: Path, case: str):
    (path,) = out.glob("chunks/*/*/snapshots-*")
    if case == "an endless header":
        path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:])
    else:
        reheaded(path, SNAPSHOTS.get(case, lambda header, rows: None), TEXTS.get(case))
    committed_anew(path)
    said = reads(out)
    assert said[2].exit_code == 1, said[2].output  # params
    assert said[3].exit_code == 1, said[3].output  # verify
    assert path.name in said[2].stderr
    assert path.name in said[3].stderr
    assert not (out.parent / "params.safetensors").exists()


# --- names given on the command line, and files a sweep starts from -------------------------------------------


@pytest.mark.parametrize("run_id", ["../../outside/x", "/etc/passwd", "*", "", "a\nb"])
def test_a_run_id_that_is_none_is_bad_input(out: Path, outside: Path, run_id: str):
    for command in (["params", out, run_id, "--out", out / "x"], ["replay", out, run_id, "--from", 0, "--to", 1]):
        said = invoke(*command)
        assert said.exit_code == 2
        assert "no run" in said.stderr


def weights(folder: Path, case: str) -> Path:
    path = folder / "start.safetensors"
    contents = {
        "a pickle": pickle.dumps(Bomb(folder / "made")),
        "an endless header": (2**62).to_bytes(8, "little") + b"{}",
        "overlaps": _raw({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, 4),
        "names that lead out": _raw({"../../x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 4),
        "no data": _raw({"W.0": {"dtype": "F32", "shape": [14, 16], "data_offsets": [0, 896]}}, 0),
        "nothing": b"",
    }
    if case in contents:
        path.write_bytes(contents[case])
    elif case == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


def _raw(header: dict[str, Any], data: int) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


@pytest.mark.parametrize(
    "case",
    ["a pickle", "an endless header", "overlaps", "names that lead out", "no data", "nothing", "a pipe", "a folder"],
)
def test_hostile_weights_are_bad_input(tmp_path: Path, case: str):
    weights(tmp_path, case)
    sweep = write(tmp_path, SWEEP | {"base": BASE | {"init": {"from_file": "start.safetensors"}}})
    said = invoke("run", sweep, "--out", tmp_path / "out")
    assert said.exit_code == 2, said.output
    assert "start.safetensors" in said.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("case", ["a hostile plan", "a hostile commit", "hostile snapshots", "a link"])
def test_a_hostile_parent_is_bad_input(tmp_path: Path, out: Path, outside: Path, case: str):
    run_id = first_run(out)
    if case == "a hostile plan":
        rows_rewritten(out, lambda rows: swapped(rows, "run_id", {0: "../../outside/x"}))
    elif case == "a link":
        shutil.rmtree(out / "chunks")
        (out / "chunks").symlink_to(outside)
    else:
        (path,) = out.glob("chunks/*/*/done.json" if case == "a hostile commit" else "chunks/*/*/snapshots-*")
        write_sealed(path, lambda part: part.write_text(BLANK))
        if path.name != "done.json":
            committed_anew(path)
    origin = {"results": str(out), "run": run_id}
    said = invoke(
        "run", write(tmp_path, SWEEP | {"base": BASE | {"init": {"from_run": origin}}}), "--out", tmp_path / "fork"
    )
    assert said.exit_code == 2, said.output
    assert "from_run" in said.stderr
    assert not (tmp_path / "fork").exists()
