"""What is done once a sweep, or once a chunk, is not done once a run, nor to all for the sake of a few.

Counted, never timed; `scripts/bench_scale.py` measures. The directory of 100 runs in 5 chunks is made up by it.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import grokjax
from grokjax.analysis.summary import DERIVATION
from grokjax.plan import growth
from grokjax.plan.plan import make_plan
from grokjax.results import commits, derived, layout, read, rebuild
from grokjax.results.layout import home_of
from grokjax.results.run_table import RunTable
from grokjax.results.verify import verify
from grokjax.spec import identity
from grokjax.standing import outcome_text
from grokjax.sweep import build
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import bench_scale

CHUNKS, RUNS_A_CHUNK = 5, 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    text = bench_scale.SWEEP.format(steps=bench_scale.STEPS_OF_A_RUN, lanes=RUNS_A_CHUNK, last_seed=0)
    (folder / "sweep.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.plan.plan.QUEUE", 1)
        for step in (bench_scale.plan_and_store, bench_scale.make_up_ends):
            list(step(folder))
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    commits._read.cache_clear()
    return tmp_path / "out"


class Calls(list[tuple[Any, ...]]):
    """The arguments that a function was called with."""

    def __init__(self, patch: pytest.MonkeyPatch, where: Any, name: str):
        function = getattr(where, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.append(arguments)
            return function(*arguments, **options)

        patch.setattr(where, name, counted)


def test_a_first_derivation_reads_each_summary_once_and_no_records(out: Path, monkeypatch: pytest.MonkeyPatch):
    summaries = Calls(monkeypatch, derived, "read_summary")
    records = Calls(monkeypatch, read.Results, "_read")
    runs = grokjax.open_results(out).runs()
    assert len(runs) == CHUNKS * RUNS_A_CHUNK
    assert set(runs["outcome"]) == {"generalized"}
    assert len(summaries) == CHUNKS
    assert not records


def test_what_was_derived_is_read_without_a_look_at_commits_summaries_or_events(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    first = grokjax.open_results(out).runs()
    commits._read.cache_clear()
    opened, summaries = Calls(monkeypatch, commits, "read_json"), Calls(monkeypatch, derived, "read_summary")
    frames = Calls(monkeypatch, read, "to_pandas")
    pd.testing.assert_frame_equal(grokjax.open_results(out).runs(), first)
    assert not opened
    assert not summaries
    assert len(frames) == 1
    assert grokjax.open_results(out).runs(["run_id", "outcome"]).equals(first[["run_id", "outcome"]])


def test_a_status_walks_the_chunks_once(out: Path, monkeypatch: pytest.MonkeyPatch):
    results = grokjax.open_results(out)
    results.runs()
    commits._read.cache_clear()
    groups, opened = Calls(monkeypatch, layout, "_folders"), Calls(monkeypatch, commits, "read_json")
    assert "100 ended (100 generalized)" in outcome_text(results)
    assert [arguments[0] for arguments in groups].count(out / "chunks") == 1
    assert len(opened) == CHUNKS


def test_a_chunk_that_ends_changes_its_own_rows_only(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = grokjax.open_results(out)
    all_runs, all_events = whole.runs(), whole.events()
    (out / "runs.parquet").unlink()
    shutil.move(home_of(out, 2), tmp_path / "aside")
    before = grokjax.open_results(out).runs()
    assert (before["status"] == "planned").sum() == RUNS_A_CHUNK
    assert before["outcome"].isna().sum() == RUNS_A_CHUNK
    shutil.move(tmp_path / "aside", home_of(out, 2))
    commits._read.cache_clear()
    summaries, planned = Calls(monkeypatch, derived, "read_summary"), Calls(monkeypatch, whole.__class__, "planned")
    opened = Calls(monkeypatch, commits, "read_json")
    after = grokjax.open_results(out)
    pd.testing.assert_frame_equal(after.runs(), all_runs)
    pd.testing.assert_frame_equal(after.events(), all_events)
    assert len(summaries) == 1
    assert not planned
    assert len(opened) == 1


def test_a_chunk_without_a_summary_is_derived_as_if_its_runs_were_all(out: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = grokjax.open_results(out).manifest
    next(home_of(out, 3).glob("summary-*")).unlink()
    seen: list[tuple[int, list[str]]] = []

    def of_runs(results: Any, run_ids: Any) -> Any:
        seen.append((len(results.run_ids), list(run_ids)))
        return DERIVATION.of_runs(results, run_ids)

    results = grokjax.open_results(out)
    results._derive = derived.cached(derived.Derivation(of_runs, DERIVATION.nothing))
    runs = results.runs().set_index("run_id")
    assert seen == [(RUNS_A_CHUNK, list(manifest.chunks[3].run_ids))]
    assert runs["last_step"].notna().all()


def test_a_summary_is_made_of_the_rows_of_its_chunk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows: list[int] = []
    column = RunTable.column

    def counted(table: RunTable, key: str, rows_of: np.ndarray | None = None) -> Any:
        found = column(table, key, rows_of)
        rows.append(len(found.codes))
        return found

    monkeypatch.setattr(RunTable, "column", counted)
    manifest = grokjax.open_results(made).manifest
    rows.clear()
    bench_scale.write_summary(bench_scale.made_up, manifest, 4, tmp_path, tmp_path / "summary-000000000004.parquet")
    assert rows
    assert set(rows) == {RUNS_A_CHUNK}


def test_a_part_is_verified_without_the_runs_and_homes_of_others(out: Path, monkeypatch: pytest.MonkeyPatch):
    checked, scanned = Calls(monkeypatch, rebuild.SpecMaker, "check_id"), Calls(monkeypatch, os, "scandir")
    report = verify(out, (3, CHUNKS))
    assert not report.damaged
    assert not report.unknown
    assert report.files == 3  # records, commit, summary
    assert len({arguments[1] for arguments in checked}) <= RUNS_A_CHUNK + 1  # and the first of its bucket
    inside = {Path(os.fspath(arguments[0])).name for arguments in scanned if arguments}
    assert {name for name in inside if layout.HOME.fullmatch(name)} == {"000003"}


def grown(seeds: int) -> Any:
    text = f"base: {{task: {{p: 7, split: {{seed: 0}}}}}}\nparameters: {{seed: {{min: 0, max: {seeds - 1}}}}}\n"
    return expand(parse_sweep(text, "s.yaml", Path()))


def test_growth_looks_at_a_section_once_however_many_runs_have_it(monkeypatch: pytest.MonkeyPatch):
    counts = []
    for seeds in (10, 40):
        old, new = make_plan(grown(seeds), bench_scale.DEVICE), grown(seeds + 5)
        with pytest.MonkeyPatch.context() as patch:
            sections, dumped = (
                Calls(patch, identity, "_decisive"),
                Calls(patch, type(new.runs[0].spec.log), "model_dump"),
            )
            added, _ = growth.growth(old, new, "out")
            assert len(added) == 5
            counts.append((len(sections), len(dumped)))
    assert counts[0] == counts[1]
    apart = Calls(monkeypatch, growth, "steps_apart")
    growth.growth(make_plan(grown(10), bench_scale.DEVICE), grown(10), "out")
    assert not apart


def test_keys_of_drawn_values_are_checked_once(monkeypatch: pytest.MonkeyPatch):
    counts = []
    for draws in (20, 80):
        text = f"method: random\nrun_cap: {draws}\nparameters: {{optimizer.lr: {{min: 0.001, max: 0.1}}}}\n"
        with pytest.MonkeyPatch.context() as patch:
            keys = Calls(patch, build, "key_problem")
            assert len(expand(parse_sweep(text, "s.yaml", Path())).runs) == draws
            counts.append(len(keys))
    assert counts[0] == counts[1]


@pytest.fixture
def collector() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_the_collector_rests_while_runs_are_made_and_is_back_after(monkeypatch: pytest.MonkeyPatch):
    was_on: list[bool] = []
    made = build.key_problem
    monkeypatch.setattr(build, "key_problem", lambda *of: was_on.append(gc.isenabled()) or made(*of))
    grown(3)
    assert was_on
    assert not any(was_on)
    assert gc.isenabled()
