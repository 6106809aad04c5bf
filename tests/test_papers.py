"""Claims of papers: what is measured of told runs, which verdict follows, that every shipped paper can be judged."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from told_results import NEVER, STEPS, Told, results_of, run
from typer.testing import CliRunner

from grokjax.analysis.claims import judge, measure, overall
from grokjax.analysis.claims_file import Claim, Claims, read_claims
from grokjax.analysis.where import parsed
from grokjax.cli import app
from grokjax.papers import measured_text, paper, papers
from grokjax.shipped import shipped_claims, shipped_sweeps
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError
from grokjax.tables import value_at

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "sweeps/papers/claims").glob("*.yaml"))


def claim(statistic: str = "median", of: str = "generalization_step", **others: Any) -> Claim:
    inner = {key: others.pop(key) for key in ("at", "passes", "falls_to", "where") if key in others}
    values = {"name": "it", "what": "it is so", "measure": {"statistic": statistic, "of": of} | inner} | others
    counts = set(others) & {"within", "tolerance", "at_least", "at_most"}
    return Claim.model_validate(values if counts else values | {"at_most": 1e9})


def claims_of(*each: Claim) -> Claims:
    return Claims(title="t", citation="c", source="paper", claims=each)


@dataclass(frozen=True)
class ToldManifest:
    """What choosing runs asks of a manifest."""

    run_ids: tuple[str, ...]
    axes: dict[str, tuple[str, ...]]

    @property
    def runs(self) -> list[Any]:
        return [SimpleNamespace(run_id=run_id, arms=("main",), values={}) for run_id in self.run_ids]

    @property
    def every_run(self) -> dict[str, Any]:
        return {run.run_id: run for run in self.runs}

    table = SimpleNamespace(bucket=np.zeros(1, int), columns={}, common=({},))  # of values that all share: none
    order = np.zeros(1, int)

    def only(self, run_ids: Sequence[str], axes: dict[str, tuple[str, ...]]) -> ToldManifest:
        return ToldManifest(tuple(run_ids), axes)


def results(rows: list[dict[str, Any]], curves: pd.DataFrame | None = None) -> Any:
    told = Told([{"last_step": STEPS} | row for row in rows], curves)
    manifest = ToldManifest(tuple(told.rows["run_id"]), {"main": ()})
    return results_of(
        runs=told.runs, events=told.events, metrics=told.metrics, curves=told.curves, path=told.path, manifest=manifest
    )


def told(steps: Any) -> Any:
    """Results of runs that generalize at these steps."""
    return results([run(generalization=step, seed=seed) for seed, step in enumerate(steps)])


def verdict(one: Claim, results: Any) -> str:
    return judge(claims_of(one), results, "cpu")[0].verdict


def test_a_median_is_that_of_all_runs_and_one_that_never_got_there_is_later_than_any():
    measured = measure(claim(), told([100, 300, NEVER, 200, NEVER]))
    assert (measured.least, measured.most) == (300, 300)
    assert (measured.low, measured.high) == (100, math.inf)


def test_a_median_that_was_not_reached_is_only_known_to_be_later_than_the_runs_went():
    measured = measure(claim(), told([100, NEVER, NEVER]))
    assert (measured.least, measured.most) == (STEPS, math.inf)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"published": 500.0, "within": 1.5}, "not reproduced"),  # 750 at most, and it is later than 1000
        ({"published": 2000.0, "within": 1.5}, "not measured"),  # it may yet come to lie there
        ({"at_least": 900.0}, "not measured"),  # what comes late must come
        ({"at_least": 5000.0}, "not measured"),
        ({"at_most": 900.0}, "not reproduced"),
    ],
)
def test_a_median_that_was_not_reached_gets_a_verdict_only_where_nothing_that_is_later_counts(
    wanted: Any, expected: str
):
    one = Claim.model_validate(
        {"name": "it", "what": "so", "measure": {"statistic": "median", "of": "generalization_step"}} | wanted
    )
    assert verdict(one, told([100, NEVER, NEVER])) == expected


def test_later_than_other_runs_is_also_what_never_comes():
    rows = [run(arm=arm, generalization=step) for arm, step in (("a", NEVER), ("b", 100))]
    later = claim(where="arm == a", against={"where": "arm == b"}, at_least=5.0)
    assert verdict(later, results(rows)) == "reproduced"  # 10 times at least
    assert (
        verdict(claim(where="arm == a", against={"where": "arm == b"}, at_least=20.0), results(rows)) == "not measured"
    )
    earlier = claim(where="arm == b", against={"where": "arm == a"}, at_most=0.2)
    assert verdict(earlier, results(rows)) == "reproduced"
    texts = [measured_text(judge(claims_of(each), results(rows), "cpu")[0]) for each in (later, earlier)]
    assert texts == ["over 10, 2 runs", "under 0.1, 2 runs"]


def test_results_of_a_wrong_setup_are_not_reproduced():
    published = claim(published=250.0, within=1.3)
    assert verdict(published, told([200, 250, 300])) == "reproduced"
    assert verdict(published, told([20, 25, 30])) == "not reproduced"
    assert verdict(published, told([NEVER, NEVER, NEVER])) == "not reproduced"
    assert verdict(claim("share", "generalization_step > 0", at_least=0.99), told([NEVER] * 3)) == "not reproduced"


def test_a_shipped_paper_whose_runs_did_something_else_is_not_reproduced():
    parity = paper("clevix_parity").claims
    rows = [run(generalization=step, task__examples=n) for n, step in ((1000, 2600), (1500, 1700))]
    assert overall(judge(parity, results(rows), "cpu")) == "reproduced (3 of 3 claims)"
    wrong = [row | {"generalization_step": 40.0} for row in rows]
    assert overall(judge(parity, results(wrong), "cpu")) == "not reproduced (0 of 3 claims)"


def test_a_share_has_wilson_s_interval_and_a_mean_student_s():
    losses = [{"final/test/loss": loss} for loss in (1.0, 2.0, 3.0, 4.0)]
    steps = (100, 200, NEVER, NEVER)
    of_four = results([run(generalization=step) | loss for step, loss in zip(steps, losses, strict=True)])
    share = measure(claim("share", "generalization_step > 0"), of_four)
    assert share.value == 0.5
    assert share.low == pytest.approx(0.15, abs=0.01)
    mean = measure(claim("mean", "final/test/loss"), of_four)
    half = 3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2  # t of 3 degrees of freedom at 97.5 %
    assert (mean.value, mean.low) == (2.5, pytest.approx(2.5 - half))
    assert measure(claim("max", "final/test/loss"), of_four).value == 4
    assert measure(claim("min", "final/test/loss"), of_four).value == 1


def curves(**metrics: Any) -> pd.DataFrame:
    """The same curve in both of two runs, at steps 0, 10, ..."""
    length = len(next(iter(metrics.values())))
    one = pd.DataFrame({"step": 10 * np.arange(length)} | metrics)
    return pd.concat([one.assign(run_id=f"{place:012x}") for place in range(2)], ignore_index=True)


def test_a_metric_is_read_at_a_step_or_where_it_passes_or_falls_to_a_value():
    table = curves(**{"test/loss": [2.0, 8.0, 9.0, 3.0, 0.5], "test/accuracy": [0.1, 0.2, np.nan, 0.8, 1.0]})
    of_two = results([run(last_step=40, train__steps=40) for _ in range(2)], table)
    assert measure(claim(of="test/accuracy", at=20), of_two).value == pytest.approx(0.2)  # the last record until then
    assert measure(claim(of="test/accuracy", passes=0.5), of_two).value == 30
    assert measure(claim(of="test/loss", falls_to=4.0), of_two).value == 30  # from its peak on, not at step 0
    never = measure(claim(of="test/loss", falls_to=0.1), of_two)
    assert (never.least, never.most) == (40, math.inf)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (claim(of="test/sharpness", at=10), "test/sharpness was not recorded"),
        (claim(of="test/loss", at=5000), "the runs have 40 steps, and it is of step 5,000"),
        (claim(of="final/norm"), "these runs have no final/norm"),
        (claim(sizes=("full",)), "it is of the size full"),
    ],
)
def test_what_cannot_be_measured_says_why(one: Claim, why: str):
    of_two = results([run(last_step=40, train__steps=40) for _ in range(2)], curves(**{"test/loss": [1.0, 2.0]}))
    (judged,) = judge(claims_of(one), of_two, "cpu")
    assert (judged.verdict, judged.why) == ("not measured", why)


def test_runs_that_still_train_are_not_judged():
    rows = [run(generalization=100), run(generalization=200) | {"status": "running"}, run()]
    (judged,) = judge(claims_of(claim()), results(rows), "cpu")
    assert (judged.verdict, judged.why) == ("not measured", "1 of 3 runs have not ended")


def test_the_verdict_of_a_paper_counts_its_claims():
    of_three = told([100, 200, 300])
    yes, no = claim(published=200.0, within=1.1), claim(published=900.0, within=1.1)
    unknown = claim(sizes=("full",))
    for each, text in (
        ([yes, unknown], "reproduced (1 of 1 claims; 1 not measured)"),
        ([yes, no], "partly reproduced (1 of 2 claims)"),
        ([no], "not reproduced (0 of 1 claims)"),
        ([unknown], "not measured"),
    ):
        assert overall(judge(Claims.model_construct(claims=tuple(each)), of_three, "cpu")) == text


WRONG = """\
title: T
citation: C
sourc: paper
claims:
  - name: one
    what: so
    measure: {statistic: medain, of: fit_step}
    within: 1.3
  - name: two
    what: so
    measure: {statistic: median, of: fit_step, where: seed <}
    at_least: 3
  - name: three
    what: so
    published: 3
    measure: {statistic: median, of: fit_step}
"""


def test_all_mistakes_of_a_claims_file_are_told_at_once_with_their_lines(tmp_path: Path):
    file = tmp_path / "claims.yaml"
    file.write_text(WRONG)
    with pytest.raises(SweepError) as caught:
        read_claims(file)
    text = str(caught.value)
    for line, what in (
        (3, "unknown key (did you mean source?)"),
        (1, "source: is missing"),
        (7, "must be one of median, share, mean, max, min"),
        (11, "cannot be read at 'seed <'"),
        (13, "what counts as reproduced is one of within"),
    ):
        assert re.search(rf"{file}:{line}:\d+: .*{re.escape(what)}", text), text


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_of_runs_that_its_sweep_has(name: str):
    claims = paper(name).claims
    if claims.needs:
        pytest.skip("its sweep needs a file of the user's")
    for size, folder in (("cpu", ""), ("full", "full/")):
        sweep = load_sweep(ROOT / f"sweeps/papers/{folder}{name}.yaml")
        assert sweep.name == f"paper_{name}" + ("_full" if size == "full" else "")
        runs = [{"arm": each.arms[0], "spec": each.spec} for each in sweep.runs]
        for one in claims.claims:
            if size in one.sizes:
                for condition in (one.measure.where, one.against and one.against.where):
                    assert condition is None or any(_meets(each, condition) for each in runs), (size, condition)


def _meets(each: dict[str, Any], condition: str) -> bool:
    """Whether a planned run meets what a condition says with == and in."""
    for clause in parsed(condition):
        value = each["arm"] if clause.key == "arm" else value_at(each["spec"], clause.key)
        allowed = clause.value if clause.op == "in" else (clause.value,)
        if clause.op not in ("==", "in") or value not in allowed:
            return False
    return True


def test_every_paper_has_a_sweep_of_both_sizes_claims_and_a_row_in_the_table():
    table = (ROOT / "sweeps/papers/README.md").read_text()
    assert sorted(shipped_claims()) == NAMES
    for name in NAMES:
        assert {f"papers/{name}", f"papers/full/{name}"} <= set(shipped_sweeps())
        assert f"| `{name}` |" in table
    shipped = {name.rpartition("/")[2] for name in shipped_sweeps() if name.startswith("papers/")}
    assert shipped == set(NAMES)


def test_the_list_and_mistakes_on_the_command_line():
    assert CliRunner().invoke(app, ["paper", "merill"]).output.startswith("no paper 'merill' (did you mean merrill?)")
    done = CliRunner().invoke(app, ["paper", "--full"])
    assert (done.exit_code, "are of one paper" in done.output) == (2, True)
    lacking = CliRunner().invoke(app, ["paper", "omnigrok_mnist"])
    assert (lacking.exit_code, "--set task.file=PATH: images" in lacking.output) == (2, True)
    assert {each.name for each in papers("full")} == set(NAMES)


SMALL = [
    "--set",
    "task.bits=4",
    "--set",
    "task.examples=64",
    "--set",
    "model.widths=[8]",
    "--set",
    "steps=40",
    "--set",
    "seed=0",
]


def test_a_paper_is_trained_judged_and_drawn_and_the_same_command_again_only_judges(tmp_path: Path):
    call = ["paper", "merrill", "--out", str(tmp_path / "out"), *SMALL]
    first, again = (CliRunner().invoke(app, call) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    assert "merrill, cpu size: " in first.output
    assert "note: with task.bits=4, which is not the paper's setup" in first.output
    assert first.output.splitlines()[-4:] == again.output.splitlines()[-4:]
    rows = pd.read_csv(tmp_path / "out/paper.csv")
    assert set(rows["row"]) == {"claim", "curve"}
    assert list(rows.loc[rows["row"] == "claim", "name"]) == ["generalized", "fit", "delay"]
    assert (tmp_path / "out/paper.svg").exists()
