"""Any run can be looked at again at any step, and forked from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.results.read import Results
from grokjax.results.snapshots import read_row
from grokjax.results.verify import verify

BASE: dict[str, Any] = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"d_model": 8, "heads": 2, "d_mlp": 16},
    "optimizer": {"name": "adam", "lr": 5e-3},
    "train": {"steps": 90, "batch": 8},
}
SWEEP: dict[str, Any] = {
    "name": "parents",
    "events": {"fit": 0.3},
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 30, "snapshot_steps": "log:4", "dense_first": 3},
    "engine": {"lanes": 4},
    "base": BASE,
    "arms": {
        "seeds": {"parameters": {"seed": {"min": 0, "max": 5}}},
        "short": {"base": {"train": {"steps": 43}}},
        "diverges": {"base": {"optimizer": {"lr": 1e25}}},
        "stops": {"base": {"stop": {"after_generalization": 7}, "events": {"generalization": 0.05}}},
        "sphere": {"base": {"constraint": {"name": "fixed_norm"}}},
    },
}


def train(folder: Path, sweep: dict[str, Any], name: str) -> Results:
    (folder / f"{name}.yaml").write_text(json.dumps(sweep))
    return grokjax.run(folder / f"{name}.yaml", out=folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("back")


@pytest.fixture(scope="module")
def parents(folder: Path) -> Results:
    return train(folder, SWEEP, "parents")


def run_of(results: Results, arm: str, **values: Any) -> str:
    runs = results.runs()
    rows = runs["arm"] == arm
    for key, value in values.items():
        rows &= runs[key.replace("__", ".")] == value
    return str(runs["run_id"][rows].iloc[0])


# --- snapshots ------------------------------------------------------------------------------------------------


def test_snapshots_are_kept_every_so_many_steps_log_spaced_and_at_the_end(parents: Results):
    assert list(parents.snapshots(run_of(parents, "seeds"))) == [1, 4, 20, 30, 60, 90]
    assert list(parents.snapshots(run_of(parents, "short"))) == [1, 4, 12, 30, 43]
    stopped = parents.runs().set_index("arm").loc["stops", "run_id"]
    end = parents.ends[stopped]["step"]
    assert end < 90
    assert list(parents.snapshots(stopped)) == [step for step in (1, 4, 20, 30, 60) if step < end] + [end]


def test_a_snapshot_has_the_norms_that_were_recorded_at_its_step(parents: Results):
    curves = parents.curves(["norm/W_E", "norm/W_U"])
    for run_id in parents.run_ids:
        for step in parents.snapshots(run_id):
            row = curves[(curves["run_id"] == run_id) & (curves["step"] == step)]
            if len(row):
                params = parents.params(run_id, step)
                for name in ("W_E", "W_U"):
                    assert np.linalg.norm(params[name]) == pytest.approx(row[f"norm/{name}"].iloc[0], rel=1e-6)


def test_a_snapshot_holds_the_optimizer_state(parents: Results):
    run_id = run_of(parents, "seeds")
    state = read_row(parents.snapshot(run_id, 30))
    assert state["opt/count"] == 30
    assert {name for name in state if name.startswith("opt/nu/")} == {
        f"opt/nu/{name}" for name in parents.params(run_id)
    }


def test_parameters_at_a_step_without_a_snapshot_say_where_there_are_some(parents: Results):
    with pytest.raises(
        ValueError, match=r"has snapshots at step 1, 4, 20, 30, 60, 90, none at 31; .*--from 31 --to 31"
    ):
        parents.params(run_of(parents, "seeds"), 31)


# --- replay ---------------------------------------------------------------------------------------------------


@pytest.mark.as_shipped
@pytest.mark.parametrize("arm", ["seeds", "short", "diverges", "stops", "sphere"])
def test_a_replay_meets_every_stored_record_to_the_bit(parents: Results, arm: str):
    run_id = run_of(parents, arm)
    end = parents.ends[run_id]["step"]
    whole = grokjax.replay(parents, run_id, 0, end)
    assert [state.step for state in whole] == list(range(end + 1))
    assert whole.difference is None
    assert whole.compared == len(parents.curves("train/loss", run_id))


@pytest.mark.as_shipped
def test_a_replay_restarts_from_the_nearest_snapshot_and_gives_the_states_asked_for(parents: Results):
    run_id = run_of(parents, "seeds", seed=3)
    later = grokjax.replay(parents, run_id, 61, 75, every=7, probes=["margin"])
    states = list(later)
    assert later.restarted_from == 60
    assert [state.step for state in states] == [61, 68, 75]
    whole = {state.step: state for state in grokjax.replay(parents, run_id, 0, 75)}
    for state in states:
        for name, value in whole[state.step].params.items():
            assert value.tobytes() == state.params[name].tobytes()
        for name, value in whole[state.step].opt.items():
            assert value.tobytes() == state.opt[name].tobytes()
        assert {name: whole[state.step].record[name] for name in ("train/loss", "test/loss", "norm/W_E")} == {
            name: state.record[name] for name in ("train/loss", "test/loss", "norm/W_E")
        }
        assert state.record["margin/min"] <= state.record["margin/median"]


@pytest.mark.as_shipped
def test_the_probes_of_a_replay_do_not_change_its_trajectory(parents: Results):
    run_id = run_of(parents, "seeds", seed=1)
    plain, probed = (grokjax.replay(parents, run_id, 20, 40, probes=probes) for probes in ([], ["margin", "drift"]))
    for one, other in zip(plain, probed, strict=True):
        assert all(one.flat[name].tobytes() == other.flat[name].tobytes() for name in one.flat)
    assert probed.difference is None


def test_the_margin_is_that_of_the_right_answer_over_the_best_other():
    import jax.numpy as jnp

    from grokjax.probes.margin import margins

    logits = jnp.array([[1.0, 5.0, 2.0], [3.0, 1.0, 2.5], [0.0, 4.0, 9.0]])  # [v, n]
    labels = jnp.array([1, 0, 2])
    assert margins(logits, labels).tolist() == [4.0 - 2.0, 1.0, 6.5]


@pytest.mark.as_shipped
def test_a_changed_record_is_the_first_difference_that_a_replay_names(parents: Results):
    run_id = run_of(parents, "seeds")
    made = grokjax.replay(parents, run_id, 30, 60)
    made.stored[45]["norm/W_E"] = float(np.nextafter(np.float32(made.stored[45]["norm/W_E"]), np.float32(9)))
    assert len(list(made)) == 31
    assert made.difference is not None
    assert (made.difference.step, made.difference.metric) == (45, "norm/W_E")
    assert "first difference at step 45: norm/W_E was" in made.verdict


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((0, 91), "within the run, 0 to 90"),
        ((-1, 5), "within the run"),
        ((9, 5), "rising"),
        ((0, 5, 0), "every must be at least 1"),
        ((0, 5, 1, ["margn"]), "did you mean margin"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(parents: Results, asked: tuple, said: str):
    with pytest.raises(ValueError, match=said):
        grokjax.replay(parents, run_of(parents, "seeds"), *asked)


@pytest.mark.as_shipped
def test_replay_saves_states_that_params_and_forks_then_find(folder: Path, parents: Results):
    runs = parents.runs().query("arm == 'seeds' and fit_step > 5 and fit_step < 80")
    run_id = runs["run_id"].iloc[-1]
    command = ["replay", str(parents.path), run_id, "--around", "fit:1", "--before", "2", "--after", "1"]
    fit = int(runs["fit_step"].iloc[-1])
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "all equal to the bit" in result.output
    for step in range(fit - 2, fit + 2):
        norm = np.linalg.norm(parents.params(run_id, step)["W_E"])
        row = parents.curves("norm/W_E", run_id).query(f"step == {step}")["norm/W_E"]
        assert len(row) == 0 or norm == pytest.approx(row.iloc[0], rel=1e-6)
    records = pd.read_parquet(next((parents.path / "replays").glob(f"{run_id}-*")) / "curves")
    assert records["step"].tolist() == list(range(fit - 2, fit + 2))
    assert {"train/loss", "test/accuracy", "update_norm/W_E"} <= set(records.columns)
    assert not verify(parents.path).damaged


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "1"], "give both --from and --to"),
        ([], "give --from and --to, or --around"),
        (["--around", "slingshot:1"], "0 events of kind slingshot"),
        (["--around", "fits:1"], "KIND one of fit"),
        (["--from", "1", "--to", "2", "--around", "fit:1"], "or --around"),
    ],
)
def test_replay_says_what_it_needs(parents: Results, arguments: list[str], said: str):
    result = CliRunner().invoke(app, ["replay", str(parents.path), parents.run_ids[0], *arguments])
    assert result.exit_code == 2
    assert said in result.output


# --- forks ----------------------------------------------------------------------------------------------------


def fork(folder: Path, name: str, origin: dict[str, Any], **base: Any) -> Results:
    origin = {"results": str(folder / "parents")} | origin
    log = {**SWEEP["log"], "dense_first": 0}
    return train(folder, SWEEP | {"name": name, "log": log, "arms": base.pop("arms", {}), "base": BASE | base
                                  | {"init": {"from_run": origin}}}, name)  # fmt: skip


@pytest.mark.as_shipped
@pytest.mark.parametrize(("arm", "base"), [("seeds", {}), ("sphere", {"constraint": {"name": "fixed_norm"}})])
def test_a_fork_that_changes_nothing_goes_on_as_its_parent_did(
    folder: Path, parents: Results, arm: str, base: dict[str, Any]
):
    """Minibatches, warm-up and the fixed norm included: what is compared starts in the middle of an epoch."""
    children = fork(
        folder, f"same-{arm}", {"select": {"arm": arm}, "step": 20}, train={"steps": 70, "batch": 8}, **base
    )
    runs = children.runs()
    assert len(runs) == (runs["init.from_run.run"].nunique()) == (6 if arm == "seeds" else 1)
    for _, child in runs.iterrows():
        own = children.curves(runs=child["run_id"]).set_index("step").iloc[1:]
        theirs = parents.curves(runs=child["init.from_run.run"])
        theirs = theirs.assign(step=theirs["step"] - 20).set_index("step").loc[own.index]
        same = [name for name in own.columns if name != "run_id"]
        pd.testing.assert_frame_equal(own[same], theirs[same], check_exact=True)
        for name, value in children.params(child["run_id"]).items():
            assert value.tobytes() == parents.params(child["init.from_run.run"])[name].tobytes()


def test_a_fork_inherits_seed_and_split_and_tells_its_lineage(folder: Path, parents: Results):
    children = fork(folder, "lineage", {"select": {"arm": "seeds", "seed": [1, 4]}, "step": 60})
    runs = children.runs()
    assert runs["seed"].tolist() == [1, 4]
    assert runs["task.split.seed"].tolist() == [1, 4]
    assert runs["lineage"].tolist() == [[f"{run_of(parents, 'seeds', seed=seed)}@60"] for seed in (1, 4)]
    origin = {"results": str(folder / "lineage"), "run": runs["run_id"][0]}
    grand = fork(folder, "grand", origin).runs()
    assert grand["lineage"].tolist() == [[*runs["lineage"][0], f"{runs['run_id'][0]}@90"]]
    assert parents.runs()["lineage"].isna().all()


def test_a_fork_without_its_optimizer_starts_with_the_parameters_only(folder: Path, parents: Results):
    children = fork(folder, "reset", {"run": run_of(parents, "seeds"), "optimizer": "reset"})
    (child,) = children.run_ids
    first = next(iter(grokjax.replay(children, child, 0, 0)))
    assert first.opt["count"] == 0
    assert not any(value.any() for value in first.opt.values())
    for name, value in parents.params(run_of(parents, "seeds")).items():
        assert value.tobytes() == first.params[name].tobytes()


def test_less_data_is_a_subset_of_what_the_parent_had(folder: Path, parents: Results):
    from grokjax.results.manifest import read_manifest
    from grokjax.tasks.examples import split

    less = fork(folder, "less", {"run": run_of(parents, "seeds", seed=5)}, task={"p": 7, "train_fraction": 0.3})
    whole = next(
        run for run in read_manifest(parents.path).plan.sweep.runs if run.run_id == run_of(parents, "seeds", seed=5)
    )
    (part,) = read_manifest(less.path).plan.sweep.runs
    rows = [set(split(run.spec.task, 49, run.spec.task.train_size).train.tolist()) for run in (part, whole)]
    assert rows[0] < rows[1]


def test_a_fork_starts_before_an_event(folder: Path, parents: Results):
    children = fork(folder, "before", {"select": {"arm": "seeds"}, "step": "before fit:1"})
    fits = parents.runs().set_index("run_id")["fit_step"]
    for _, child in children.runs().iterrows():
        parent, step = child["init.from_run.run"], child["init.from_run.step"]
        assert step == max(at for at in parents.snapshots(parent) if at <= fits[parent] - 5)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"run": "0123456789ab"}, "init.from_run.run: no run '0123456789ab'"),
        ({"select": {"outcom": "generalized"}}, "did you mean outcome"),
        ({"select": {"arm": "nobody"}}, "no run to start from"),
        ({"select": {"arm": "seeds"}, "step": 31}, "none at 31; make it with: grokjax replay"),
        ({"select": {"arm": "seeds"}, "step": "before slingshot:1"}, "have no snapshot before slingshot:1"),
        ({"results": "nowhere", "select": {}}, "no plan.json"),
    ],
)
def test_a_fork_from_what_is_not_there_is_refused(folder: Path, parents: Results, origin: dict[str, Any], said: str):
    with pytest.raises(grokjax.SweepError, match=said):
        fork(folder, "refused", origin)
    assert not (folder / "refused").exists()


def test_an_interrupted_fork_goes_on_only_with_the_parent_it_was_planned_with(folder: Path, parents: Results):
    children = fork(folder, "gone", {"run": run_of(parents, "seeds")})
    (folder / "parents").rename(folder / "away")
    try:
        assert len(grokjax.open_results(children.path).runs()) == 1
        with pytest.raises(grokjax.SweepError, match=r"no plan\.json"):
            grokjax.run(folder / "gone.yaml", out=folder / "gone")
    finally:
        (folder / "away").rename(folder / "parents")
