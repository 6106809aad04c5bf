"""optimizer.groups in the sweep language: axes, settings, arms, what replaces what, and forks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.run import Sweep
from grokjax.sweep.settings import parse_overrides

GROUPS = "base: {optimizer: {name: sgd, groups: {W_E: {name: lion}, W_O.0: {name: muon, lr: 0.02}}}}\n"


def sweep(text: str, *settings: str) -> Sweep:
    return expand(parse_sweep(text, "s.yaml", Path()), parse_overrides(list(settings)))


def group(made: Sweep, matrix: str, key: str = "lr") -> list[Any]:
    return [getattr(run.spec.optimizer.groups[matrix], key) for run in made.runs]


def test_a_key_of_a_group_is_an_axis_like_any_other():
    made = sweep(
        GROUPS
        + "parameters: {optimizer.groups.W_E.lr: {values: [0.1, 0.2]}, optimizer.groups.W_O.0.beta: {value: 0.5}}\n"
    )
    assert group(made, "W_E") == [0.1, 0.2]
    assert group(made, "W_O.0", "beta") == [0.5, 0.5]
    assert made.axes["main"] == ("optimizer.groups.W_E.lr", "optimizer.groups.W_O.0.beta")


def test_a_group_s_keys_can_be_set_by_one_value_or_several():
    made = sweep(GROUPS, "optimizer.groups.W_O.0.lr=0.5", "optimizer.groups.W_E.b2=0.9,0.99")
    assert group(made, "W_O.0") == [0.5, 0.5]
    assert group(made, "W_E", "b2") == [0.9, 0.99]
    assert made.axes["main"] == ("optimizer.groups.W_E.b2",)


def test_tables_by_matrix_stand_in_groups_too():
    made = sweep(GROUPS + "parameters: {optimizer.groups.W_O.0.lr_by_matrix.W_O.0: {values: [1, 0.5]}}\n")
    assert group(made, "W_O.0", "lr_by_matrix") == [{"W_O.0": 1}, {"W_O.0": 0.5}]


def test_an_arm_that_names_another_family_drops_what_only_the_first_had():
    arms = (
        "arms: {a: {}, b: {base: {optimizer: {groups: {W_O.0: {name: adamw}}}}}, c: {base: {optimizer.groups: {}}}}\n"
    )
    runs = {
        run.arms[0]: run.spec.optimizer for run in sweep(GROUPS.replace("lr: 0.02", "beta: 0.9, lr: 0.02") + arms).runs
    }
    assert [runs["a"].groups["W_O.0"].name, runs["b"].groups["W_O.0"].name] == ["muon", "adamw"]
    assert runs["b"].groups["W_O.0"].lr == 0.02
    assert runs["b"].groups["W_E"] == runs["a"].groups["W_E"]
    assert runs["c"].groups == {}


def test_whole_groups_are_an_axis_whose_columns_are_the_keys_that_differ():
    values = "[{}, {W_E: {name: lion}}, {W_E: {name: lion, lr: 0.5}, W_U: {name: sgd}}]"
    made = sweep(f"parameters: {{optimizer.groups: {{values: {values}}}}}\n")
    assert [list(run.spec.optimizer.groups) for run in made.runs] == [[], ["W_E"], ["W_E", "W_U"]]
    names = ("optimizer.groups.W_E.name", "optimizer.groups.W_E.lr", "optimizer.groups.W_U.name")
    assert sorted(made.axes["main"]) == sorted(names)
    tables = sweep("parameters: {optimizer.lr_by_matrix: {values: [{}, {W_E: 0.5}]}}\n")
    assert tables.axes["main"] == ("optimizer.lr_by_matrix.W_E",)
    with pytest.raises(SweepError) as error:
        sweep("parameters: {optimizer.groups: {values: [{}, {W_E: {name: lion, lrr: 1}}]}}\n")
    assert "optimizer.groups.W_E.lrr: unknown key: lion has no lrr (did you mean lr?)" in str(error.value)


def test_a_group_of_every_layer_is_each_layer_s_and_its_decay_goes_where_a_norm_is_held():
    text = "base: {model: {layers: 2}, optimizer: {groups: {W_O: {name: adamw}}}, constraint: {name: fixed_norm}}\n"
    (run,) = sweep(text).runs
    optimizer = run.spec.optimizer
    inside = [name for name in parameter_shapes(run.spec) if optimizer.group_of(name)]
    assert inside == ["W_O.0", "W_O.1"]
    assert (optimizer.weight_decay, optimizer.groups["W_O"].weight_decay) == (0, 0)
    (explicit,) = sweep(text.replace("name: adamw", "name: adamw, weight_decay: 0.5")).runs
    assert explicit.spec.optimizer.groups["W_O"].weight_decay == 0.5


def test_states_fit_only_where_filters_groups_and_pulls_are_the_same():
    base = "base: {optimizer: {filters: [{name: grokfast_ma, window: 5}], groups: {W_E: {name: lion}}}}\n"
    (ours,) = sweep(base).runs
    for other in ("window: 6", "window: 5, lamb: 1.0"):
        (theirs,) = sweep(base.replace("window: 5", other)).runs
        assert (ours.spec.optimizer.state_kind == theirs.spec.optimizer.state_kind) == ("lamb" in other)
    for change in ("groups: {W_U: {name: lion}}", "groups: {W_E: {name: sgd}}", "decay_to: init"):
        (theirs,) = sweep(base.replace("groups: {W_E: {name: lion}}", change)).runs
        assert ours.spec.optimizer.state_kind != theirs.spec.optimizer.state_kind
