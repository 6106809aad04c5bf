"""Starting values by matrix (`init.distribution`), and matrices that stay as they start (`init.frozen`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_forks_in_sweeps import ONE, A, mistakes, store, stored, sweep
from test_start import draw, moments, spec_of, started

from grokjax.engine import draws
from grokjax.engine.inputs import Starts
from grokjax.engine.states import flat_names
from grokjax.plan.cost import lane_bytes, snapshot_bytes
from grokjax.spec.identity import program_key, run_id
from grokjax.spec.shapes import parameter_count, parameter_shapes, trained_shapes

WIDE = {"name": "transformer", "layers": 2, "d_model": 64, "heads": 2, "d_head": 16, "d_mlp": 128, "layernorm": "pre"}
NARROW = {"name": "mlp", "widths": [9]}


def test_each_distribution_has_its_moments():
    distribution = {
        "W_Q": {"normal": 0.3},
        "W_K": {"uniform": 0.5},
        "W_O": {"he": 2.0},
        "W_in.1": {"fan_in": 3.0},
        "W_E": {"he": 1.0},
        "b_in": {"uniform": 0.1},
        "b_out": {"fan_in": 1.0},
        "ln1_w": {"constant": -2.0},
    }
    params = draw(spec_of(model=WIDE, init={"distribution": distribution}), list(range(30)))
    wanted = {  # deviation, and the fourth moment over the squared variance
        "W_Q.0": (0.3, 3), "W_Q.1": (0.3, 3), "W_K.0": (0.5 / 3**0.5, 1.8), "W_O.1": (2 * (2 / 32) ** 0.5, 3),
        "W_in.0": (64**-0.5, 3), "W_in.1": (3 * 64**-0.5, 3), "W_E": ((2 / 64) ** 0.5, 3),
        "b_in.0": (0.1 / 3**0.5, 1.8), "b_out.1": (128**-0.5, 3),
    }  # fmt: skip
    for name, (deviation, fourth) in wanted.items():
        found = moments(params[name])
        assert found[1] == pytest.approx(deviation, rel=0.05), name
        assert abs(found[0]) < 0.1 * deviation, name
        assert found[2] == pytest.approx(fourth, rel=0.12), name
    assert (params["ln1_w.1"] == -2).all()
    assert (params["ln1_b.0"] == 0).all()


def test_a_matrix_of_its_own_distribution_is_that_of_the_scheme_where_these_are_equal():
    own = {"W": {"fan_in": 1.0}, "b.1": {"constant": 0.5}}
    plain, ours = (
        draw(spec_of(model=NARROW, init=init), [3])
        for init in ({"scheme": "fan_in"}, {"scheme": "torch_linear", "distribution": own})
    )
    for name in ("W.0", "W.1"):
        np.testing.assert_array_equal(ours[name], plain[name])
    assert (ours["b.1"] == 0.5).all()
    assert 0 < np.abs(ours["b.0"]).max() < 14**-0.5, "the scheme's"


def test_an_entry_of_a_layer_comes_before_that_of_every_layer_and_scales_apply():
    init = {"distribution": {"W": {"constant": 1.0}, "W.1": {"constant": -3.0}}, "scale_by_matrix": {"W.1": 2.0}}
    params = started(spec_of(model=NARROW, init=init)).params
    assert (params["W.0"] == 1).all()
    assert (params["W.1"] == -6).all()


def test_another_number_of_a_distribution_compiles_nothing():
    starts = Starts()
    small, large = (spec_of(model=NARROW, init={"distribution": {"W.0": {"normal": s}}}) for s in (0.1, 0.4))
    one = draw(small, [5], starts)["W.0"]
    compiled = draws._drawn._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    four = draw(large, [5], starts)["W.0"]
    np.testing.assert_allclose(four, 4 * one, rtol=1e-6)
    assert draws._drawn._cache_size() == compiled  # pyright: ignore[reportAttributeAccessIssue]
    assert program_key(small) == program_key(large)


def test_distributions_are_part_of_an_id_as_what_they_do():
    def with_init(**init: Any):
        return spec_of(model=WIDE | {"layernorm": "none"}, init=init)

    layers = {f"W_O.{layer}": {"normal": 0.1} for layer in (0, 1)}
    whole = run_id(with_init(distribution={"W_O": {"normal": 0.1}}))
    assert whole == run_id(with_init(distribution=layers))
    assert len({whole, run_id(with_init()), run_id(with_init(distribution={"W_O": {"he": 0.1}}))}) == 3
    # a bias is 0 at the start, whatever its scale, unless it has a distribution
    assert run_id(with_init(scale_by_matrix={"b_in": 2.0})) == run_id(with_init())
    of_bias = {"distribution": {"b_in": {"normal": 0.1}}}
    assert run_id(with_init(**of_bias, scale_by_matrix={"b_in": 2.0})) != run_id(with_init(**of_bias))


def test_a_run_that_starts_from_weights_draws_nothing(tmp_path: Path):
    (tmp_path / "w.safetensors").write_bytes(b"any")
    file = {"from_file": str(tmp_path / "w.safetensors")}
    plain, with_distribution = (
        run_id(spec_of(model=NARROW, init=file | more)) for more in ({}, {"distribution": {"W": {"he": 1.0}}})
    )
    assert plain == with_distribution


# Frozen matrices


def frozen(*names: str, **sections: Any):
    init = sections.pop("init", {})
    return spec_of(model=WIDE, init=init | {"frozen": list(names)}, **sections)


def test_frozen_matrices_are_one_run_however_they_are_named():
    whole, layers = frozen("W_O", "W_E"), frozen("W_E", "W_O.1", "W_O.0")
    assert whole.init.frozen == layers.init.frozen == ["W_E", "W_O.0", "W_O.1"]
    assert run_id(whole) == run_id(layers)
    assert program_key(whole) == program_key(layers)
    assert run_id(whole) != run_id(frozen())
    assert program_key(whole) != program_key(frozen())


def test_what_is_said_of_the_training_of_a_frozen_matrix_is_no_part_of_the_run():
    optimizer = {"name": "adamw", "lr_by_matrix": {"W_E": 0.5}, "weight_decay_by_matrix": {"W_E": 2.0}}
    assert run_id(frozen("W_E")) == run_id(frozen("W_E", optimizer=optimizer))
    assert run_id(frozen("W_U")) != run_id(frozen("W_U", optimizer=optimizer))


def test_a_norm_that_is_held_does_not_undo_the_scale_of_what_is_frozen():
    sphere = {"constraint": {"name": "fixed_norm", "scope": "global", "radius": 3.0}}
    twice = {"init": {"scale": 2.0}}
    assert run_id(frozen(**sphere)) == run_id(frozen(**sphere, **twice))
    assert run_id(frozen("W_E", **sphere)) != run_id(frozen("W_E", **sphere, **twice))
    state = started(frozen("W_E", **sphere))
    assert np.sqrt(sum((value**2).sum() for name, value in state.params.items() if name != "W_E")) == pytest.approx(3)
    np.testing.assert_array_equal(state.params["W_E"], started(frozen()).params["W_E"])


@pytest.mark.parametrize("scope", ["global", "matrix"])
def test_the_state_holds_nothing_of_a_frozen_matrix_but_itself(scope: str):
    spec = frozen("W_E", "ln1_w", constraint={"name": "fixed_norm", "scope": scope})
    names = flat_names(started(spec))
    for name in ("W_E", "ln1_w.0", "ln1_w.1"):
        assert [found for found in names if found.endswith(f"/{name}")] == [f"params/{name}"]
    assert "opt/mu/W_pos" in names
    whole, trained = (parameter_count(shapes(spec)) for shapes in (parameter_shapes, trained_shapes))
    assert whole - trained == 8 * 64 + 2 * 64
    assert snapshot_bytes(spec) == 4 * (whole + 2 * trained)
    assert lane_bytes(spec) < lane_bytes(frozen(constraint={"name": "fixed_norm", "scope": scope}))


def test_a_fork_keeps_the_moments_of_a_run_that_trained_the_same_matrices_only():
    find = store()
    find.runs[A] = stored(init__frozen=["W_E"])
    text = f"base:\n  init:\n    frozen: [W_E]\n    from_run: {ONE}\n"
    assert len(sweep(text, find).runs) == 1
    other = text.replace("[W_E]", "[W_E, W_U]")
    (message,) = mistakes(other, find)
    assert message.startswith(f"3:5: init.frozen: run {A} trains other matrices, so its moments are of others; write")
    assert len(sweep(other, find, {"init.from_run.optimizer": "reset"}).runs) == 1


def test_a_number_of_a_distribution_is_an_axis_and_another_kind_takes_its_place():
    def distributions(text: str, settings: dict[str, Any] | None = None) -> list[Any]:
        return [run.spec.init.distribution["W.0"] for run in sweep(text, overrides=settings).runs]

    base = "base: {model: {name: mlp}, init: {distribution: {W.0: {he: 1.0}}}}\n"
    axis = "parameters: {init.distribution.W.0.normal: {values: [0.1, 0.2]}}\n"
    assert distributions(base) == [{"he": 1.0}]
    assert distributions(base + axis) == [{"normal": 0.1}, {"normal": 0.2}]
    assert distributions(base + axis, {"init.distribution.W.0.uniform": "0.5,1"}) == [
        {"uniform": 0.5},
        {"uniform": 1.0},
    ]
    assert distributions(base + axis, {"init.distribution.W.0": {"constant": 0}}) == [{"constant": 0.0}]
    whole = "parameters: {init.distribution.W.0: {values: [{normal: 1}, {constant: 0}]}}\n"
    assert distributions(base + whole) == [{"normal": 1.0}, {"constant": 0.0}]
