"""Conditions on runs (`--where`): what they mean, and what is said of those that mean nothing."""

import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grokjax
from grokjax.analysis.where import chosen_runs, parsed

SWEEP = """
base:
  task: {p: 5, train_fraction: 0.6}
  model: {name: mlp, widths: [4]}
  train: {steps: 2}
arms:
  decay:
    parameters:
      seed: {min: 0, max: 3}
      optimizer.weight_decay: {values: [0, 0.5, 1]}
      train.batch: {values: [null, 4]}
  plain:
    base: {optimizer: {name: sgd, lr: 0.1}, model: {widths: [4, 4], bias: false}}
"""
VALUES = {
    "seed": [0, 1, 2, 3, 7],
    "weight_decay": [0, 0.5, 1, 1e-3],
    "train.batch": ["null", 4, 5],
    "optimizer.name": ["sgd", "adamw", '"adamw"', "'sgd'", "other"],
}
ORDERED = ("seed", "weight_decay", "train.batch")
OPS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("where")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def plain(value):
    """A value of a condition as Python has it."""
    return None if value == "null" else value.strip("\"'") if isinstance(value, str) else value


@st.composite
def clauses(draw):
    key = draw(st.sampled_from(sorted(VALUES)))
    value = draw(st.sampled_from(VALUES[key]))
    ops = list(OPS) if key in ORDERED and value != "null" else ["==", "!="]
    if draw(st.booleans()):
        several = draw(st.lists(st.sampled_from(VALUES[key]), max_size=3))
        return key, "in", several
    return key, draw(st.sampled_from(ops)), value


def meets(run, key, op, value):
    column = {"weight_decay": "optimizer.weight_decay"}.get(key, key)
    found = run.get(column)
    found = None if found != found else found
    if op == "in":
        return found in [plain(one) for one in value]
    if op in ("==", "!="):
        return OPS[op](found, plain(value))
    return found is not None and OPS[op](found, value)


@settings(deadline=None, max_examples=60)
@given(told=st.lists(clauses(), min_size=1, max_size=3), space=st.sampled_from([" ", "", "  "]))
def test_a_condition_chooses_the_runs_that_meet_every_part_of_it(results, told, space):
    gap = {key: " " if key == "in" else space for key in (*OPS, "in")}
    text = " and ".join(f"{key}{gap[op]}{op}{gap[op]}{written(value)}" for key, op, value in told)
    rows = results.runs().to_dict("records")
    wanted = [run["run_id"] for run in rows if all(meets(run, *clause) for clause in told)]
    if not wanted:
        with pytest.raises(ValueError, match="no run of"):
            chosen_runs(results, text)
        return
    chosen = chosen_runs(results, text)
    assert list(chosen.runs()["run_id"]) == wanted
    assert set(chosen.curves()["run_id"]) == set(wanted)
    assert set(chosen.manifest.axes) == {run["arm"] for run in rows if run["run_id"] in wanted}


def written(value):
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("model.widths == [4, 4]", 1),
        ("bias == false", 1),
        ("bias != false and seed == 0", 6),
        ("arm == plain", 1),
        ("status == ended", 25),
        ("outcome in [generalized, lost]", 0),
        ("train.batch == null and arm == decay", 12),
        ("seed == true", 0),
    ],
)
def test_any_column_of_runs_can_be_compared(results, text, runs):
    if runs:
        assert len(chosen_runs(results, text).runs()) == runs
    else:
        with pytest.raises(ValueError, match=r"no run of .* has"):
            chosen_runs(results, text)


def test_an_axis_of_which_one_value_is_left_is_none(results):
    chosen = chosen_runs(results, "weight_decay == 1 and train.batch == null")
    assert chosen.manifest.axes == {"decay": ("seed",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"'' cannot be read at '': it must be KEY OP VALUE"),
        ("seed", r"cannot be read at 'seed': it must be KEY OP VALUE"),
        ("seed < 3 and", r"cannot be read at ''"),
        ("seed < 3 or weight_decay == 1", r"cannot be read at 'seed < 3 or weight_decay == 1'"),
        ("seed < 3 and weight_decay = 1", r"cannot be read at 'weight_decay = 1'"),
        ("seed in 3", r"seed in 3: `in` takes a list such as \[0.1, 1\]"),
        ("seed < [1, 2]", r"an order one number"),
        ("seed < high", r"seed < high: only numbers have an order"),
        ("sed == 1", r"no key 'sed' .*did you mean seed.*the sweep varies seed, optimizer.weight_decay, train.batch"),
        ("weight_decy == 1", r"did you mean optimizer.weight_decay"),
        ("name == adamw", r"'name' is one of optimizer.name, task.name, .*: say which"),
        ("seed == 9", r"has seed == 9; seed is 0, 1, 2, 3 there"),
        ("optimizer.name == adam", r"optimizer.name is adamw, sgd there"),
    ],
)
def test_a_condition_that_means_nothing_is_told_with_its_place_and_what_there_is(results, text, said):
    with pytest.raises(ValueError, match=said):
        chosen_runs(results, text)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        said = "KEY OP VALUE" if parsed(text) else "nothing"
    except ValueError as error:
        said = str(error)
    assert "KEY OP VALUE" in said or "list such as" in said
