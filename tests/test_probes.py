"""Probes in the step: against plain float64 NumPy, against finite differences, and on what was planted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import grokjax
from grokjax.plan.cost import metric_count, probe_shares
from grokjax.probes.all import PROBES, is_of_update, observe
from grokjax.probes.radial import decompose
from grokjax.results.read import Results
from grokjax.spec.constraints import FixedNorm
from grokjax.spec.hypers import hyper_of
from grokjax.spec.identity import program_key, run_id
from grokjax.spec.losses import CrossEntropy
from grokjax.spec.models import MLP as Mlp
from grokjax.spec.models import Transformer
from grokjax.spec.optimizers import SGD, Adam, AdamW
from grokjax.spec.probes import PROBES as FACTS
from grokjax.spec.run import Log, Numerics, RunSpec
from grokjax.spec.shapes import is_matrix, parameter_shapes
from grokjax.spec.tasks import Modular
from grokjax.tasks.all import table
from grokjax.tasks.examples import split
from grokjax.train.state import Examples, View
from grokjax.train.step import start, step

ALL = sorted(name for name, facts in FACTS.items() if not facts.at_evaluation)
FLOAT64 = Numerics(params="float64")
NETWORK = Transformer(d_model=8, heads=2, d_head=3, d_mlp=12, logit_scale=1.7)


def make(probes=ALL, **sections: Any) -> RunSpec:
    sections = {"task": Modular(p=7, train_fraction=0.6), "model": NETWORK, "numerics": FLOAT64} | sections
    optimizer = Adam(lr=0.02, warmup_steps=3, weight_decay=0.1, lr_by_matrix={"W_U": 0.5})
    sections.setdefault("optimizer", optimizer)
    return RunSpec(log=Log(probes=[FACTS[name]() for name in probes]), **sections)


def weights(spec: RunSpec, seed=3) -> dict[str, np.ndarray]:
    p, model = spec.task.p, spec.model
    if isinstance(model, Mlp):
        return reference.mlp_weights(p, list(model.widths), None, model.bias, seed)
    return reference.transformer_weights(p, model.d_model, 2, 3, model.d_mlp, model.layers, False, seed)


def look(spec: RunSpec, params: dict[str, np.ndarray], steps=5) -> tuple[View, dict[str, float]]:
    """The view of the step after some, and what its record has."""
    examples = table(spec.task)
    rows = split(spec.task.model_copy(update={"split": spec.task.split.model_copy(update={"seed": 0})}), 49, 29).train
    train = Examples(jnp.asarray(examples.inputs)[rows], jnp.asarray(examples.targets)[rows])
    assert spec.task.train_size == 29
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        state = start(spec, {name: jnp.asarray(value) for name, value in params.items()}, hyper)
        first = state.params
        advance = jax.jit(partial(step, spec))
        for _ in range(steps):
            state, _ = advance(state, hyper, train)
        view = advance(state, hyper, train)[1]._replace(first=first)
        return view, {name: float(value) for name, value in jax.jit(partial(observe, spec))(view).items()}


def arrays(params) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, np.float64) for name, value in params.items()}


@pytest.fixture(scope="module")
def adam_seen():
    spec = make(constraint=FixedNorm())
    return spec, *look(spec, weights(spec))


# --- against NumPy --------------------------------------------------------------------------------------------


def slow_radial(step: np.ndarray, W: np.ndarray) -> tuple[float, float, float]:
    r = float(step @ W) / np.linalg.norm(W)
    angle = np.arccos(np.clip((W + step) @ W / np.linalg.norm(W + step) / np.linalg.norm(W), -1, 1))
    return r * r / float(step @ step), r, float(angle)


@pytest.mark.parametrize("kind", ["grad", "proposed", "update"])
def test_radial_parts_are_those_of_vectors(adam_seen, kind):
    _, view, found = adam_seen
    params, grads = arrays(view.params), arrays(view.grads)
    after = arrays(view.proposed if kind == "proposed" else view.updated)
    steps = {name: -grads[name] if kind == "grad" else after[name] - W for name, W in params.items()}
    parts = {name: [name] for name in params if is_matrix(name)} | {"total": list(params)}
    for part, names in parts.items():
        flat = [np.concatenate([of[name].ravel() for name in names]) for of in (steps, params)]
        share, length, angle = slow_radial(*flat)
        assert found[f"radial_share/{kind}/{part}"] == pytest.approx(share, rel=1e-5, abs=1e-9), part
        assert found[f"radial_part/{kind}/{part}"] == pytest.approx(length, rel=1e-5, abs=1e-9), part
        assert found[f"angular_step/{kind}/{part}"] == pytest.approx(angle, rel=1e-4, abs=1e-7), part


def test_on_a_sphere_the_realized_update_only_turns(adam_seen):
    """|W + D| = |W| makes r = -|D|^2 / 2|W|, and the angle 2 asin(|D| / 2|W|); the proposed one also grows."""
    _, view, found = adam_seen
    flat = [np.concatenate([of[name].ravel() for name in of]) for of in map(arrays, (view.params, view.updated))]
    radius, moved = np.linalg.norm(flat[0]), np.linalg.norm(flat[1] - flat[0])
    assert found["radial_part/update/total"] == pytest.approx(-(moved**2) / 2 / radius, rel=1e-4)
    assert found["angular_step/update/total"] == pytest.approx(2 * np.arcsin(moved / 2 / radius), rel=1e-5)
    assert abs(found["radial_part/proposed/total"]) > 3 * abs(found["radial_part/update/total"])


def test_an_almost_radial_step_keeps_the_digits_of_its_angle():
    W = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    across = np.roll(W, 1) - (np.roll(W, 1) @ W) / (W @ W) * W
    D = np.float32(0.01) * W + np.float32(1e-6) * across
    share, _, angle = (float(value) for value in decompose([jnp.asarray(D)], [jnp.asarray(W)]))
    assert share == pytest.approx(1)
    assert angle == pytest.approx(1e-6 / 1.01 * np.linalg.norm(across) / np.linalg.norm(W), rel=1e-2)


def test_what_has_no_direction_has_no_radial_share():
    zero, one = jnp.zeros(3), jnp.ones(3)
    assert np.isnan([float(value) for value in decompose([one], [zero])]).all()
    share, length, angle = decompose([zero], [one])
    assert np.isnan(float(share))
    assert float(length) == 0
    assert float(angle) == 0


def test_drift_is_from_the_start_of_the_run(adam_seen):
    spec, view, found = adam_seen
    params = arrays(view.params)
    for name, W0 in weights(spec).items():
        if is_matrix(name):
            W = params[name]
            assert found[f"drift/{name}"] == pytest.approx(np.linalg.norm(W - W0) / np.linalg.norm(W0), rel=1e-5)
            cosine = (W * W0).sum() / np.linalg.norm(W) / np.linalg.norm(W0)
            assert found[f"init_cosine/{name}"] == pytest.approx(cosine, rel=1e-6)


def test_adam_is_that_of_its_moments_by_hand(adam_seen):
    spec, view, found = adam_seen
    optimizer = spec.optimizer
    assert isinstance(optimizer, Adam)
    examples = (np.asarray(view.examples.inputs), np.asarray(view.examples.targets))
    recipe = reference.Recipe(
        optimizer="adam", lr=0.02, warmup_steps=3, weight_decay=0.1, lr_by_matrix={"W_U": 0.5}, steps=6, b1=0.9,
        b2=optimizer.b2, eps=1e-8, activation="relu", logit_scale=1.7, loss="cross_entropy", fixed_norm="global",
    )  # fmt: skip
    moments = reference.train(weights(spec), examples, examples, recipe)
    grads = [{name: moment.grads[name] + 0.1 * moment.params[name] for name in moment.params} for moment in moments[:6]]
    for name in filter(is_matrix, grads[0]):
        m, v = np.zeros_like(grads[0][name]), np.zeros_like(grads[0][name])
        for g in grads:
            m, v = 0.9 * m + 0.1 * g[name], optimizer.b2 * v + (1 - optimizer.b2) * g[name] ** 2
        m, root = m / (1 - 0.9**6), np.sqrt(v / (1 - optimizer.b2**6))
        rate = 0.02 * (0.5 if name == "W_U" else 1) / (root + 1e-8)
        for label, at in {"q05": 0.05, "q50": 0.5, "q95": 0.95}.items():
            assert found[f"adam/lr_{label}/{name}"] == pytest.approx(np.quantile(rate, at), rel=1e-4), name
        assert found[f"adam/step_max/{name}"] == pytest.approx(np.abs(m / (root + 1e-8)).max(), rel=1e-4)
        assert found[f"adam/step_rms/{name}"] == pytest.approx(np.sqrt(((m / (root + 1e-8)) ** 2).mean()), rel=1e-4)
        assert found[f"adam/eps_share/{name}"] == (root < 1e-8).mean()


def test_a_large_eps_is_over_all_second_moments():
    spec = make(["adam"], optimizer=AdamW(lr=1e-3, eps=10.0))
    _, found = look(spec, weights(spec))
    assert {value for name, value in found.items() if name.startswith("adam/eps_share")} == {1.0}


def test_balance_is_that_of_vectors(adam_seen):
    _, view, found = adam_seen
    params, grads = arrays(view.params), arrays(view.grads)
    whole = sum((grad**2).sum() for grad in grads.values())
    for name in filter(is_matrix, params):
        assert found[f"balance/inner/{name}"] == pytest.approx((params[name] * grads[name]).sum(), rel=1e-5)
        assert found[f"balance/grad_share/{name}"] == pytest.approx((grads[name] ** 2).sum() / whole, rel=1e-5)
    path = [np.linalg.norm(params[name]) for name in ("W_E", "W_V.0", "W_O.0", "W_in.0", "W_out.0", "W_U")]
    assert found["balance/path_ratio"] == pytest.approx(max(path) / min(path), rel=1e-6)


def test_factors_of_a_homogeneous_network_have_one_inner_product():
    spec = make(["balance"], model=Mlp(widths=[12, 10], bias=False), optimizer=SGD(lr=0.1))
    _, found = look(spec, weights(spec))
    inner = [found[f"balance/inner/W.{layer}"] for layer in range(3)]
    assert inner == pytest.approx([inner[0]] * 3, rel=1e-5)
    assert abs(inner[0]) > 1e-3


# --- softmax --------------------------------------------------------------------------------------------------


def slow_softmax(view: View, scale: float) -> dict[str, float]:
    params, after = arrays(view.params), arrays(view.updated)
    tokens, labels = np.asarray(view.examples.inputs), np.asarray(view.examples.targets)
    d, n = len(params["W_U"]), len(labels)

    def features(params):  # what W_U reads: the logits of a network whose W_U is the identity
        return reference.network(params | {"W_U": np.eye(d)}, tokens, "relu")[0]

    f, g = features(params), features(after)
    z = scale * f @ params["W_U"]
    others = np.where(np.arange(z.shape[1]) == labels[:, None], -np.inf, z).max(1)
    margins = z[np.arange(n), labels] - others
    p = np.exp(z - z.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    by_logit = p - (np.arange(z.shape[1]) == labels[:, None])
    of_classes = scale * (by_logit.T @ f / n).mean(0)
    of_feature = scale * (by_logit / n).sum(0) @ params["W_U"].T
    return {
        **{f"margin_{label}": np.quantile(margins, at) for label, at in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95))},
        "logit_scale": np.sqrt(((z - z.mean(1, keepdims=True)) ** 2).mean()),
        "mean_grad_last": np.linalg.norm(of_classes),
        "mean_grad_feature": np.linalg.norm(of_feature),
        "update/feature": np.linalg.norm(g - f) / np.linalg.norm(f),
    }


def test_softmax_is_that_of_plain_numpy(adam_seen):
    spec, view, found = adam_seen
    slow = slow_softmax(view, spec.model.logit_scale)
    for name in slow.keys() - {"mean_grad_last"}:
        assert found[f"softmax/{name}"] == pytest.approx(slow[name], rel=1e-5), name
    # without rounding each example's gradient sums to 0 over classes
    assert found["softmax/mean_grad_last"] < 1e-14
    assert slow["mean_grad_last"] < 1e-14
    assert found["softmax/collapse"] == 0
    assert found["softmax/grad_sum_share"] < 1e-14


@pytest.mark.as_shipped
@pytest.mark.parametrize(("precision", "collapse"), [("float32", 1.0), ("exact", 1.0), ("float64", 0.0)])
def test_a_planted_collapse_is_seen_in_the_precision_that_has_it(precision, collapse):
    """All margins between 23 ln 2 = 16 and 52 ln 2 = 36: the sum over classes is 1 in float32, and more in float64."""
    model = Mlp(widths=[9], activation="identity", bias=False)
    spec = make(["softmax"], model=model, loss=CrossEntropy(precision=precision), numerics=Numerics())
    p = spec.task.p
    angles = 2 * np.pi * np.outer(np.arange(p), np.arange(1, 4)) / p  # a sum of waves of b - c, whose answer is b
    waves = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    params = {"W.0": np.zeros((2 * p, 9)), "W.1": np.zeros((9, p))}
    params["W.0"][p:, :6], params["W.0"][:, 6] = waves, 1  # neuron 6 is a constant, for a mean feature
    params["W.1"][:6] = waves.T * 6
    tokens = jnp.asarray([[a, b, p] for a in range(p) for b in range(p)])
    examples = Examples(tokens, tokens[:, 1])
    with jax.enable_x64(precision == "float64"):
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        state = start(spec, {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}, hyper)
        _, view = jax.jit(partial(step, spec))(state, hyper, examples)
        found = {name: float(value) for name, value in jax.jit(partial(observe, spec))(view).items()}
    assert found["softmax/margin_q05"] > 17
    assert found["softmax/margin_q95"] < 30
    assert found["softmax/collapse"] == collapse
    if precision == "float32":  # only the wrong classes' gradients are left: their sum is all there is
        assert found["softmax/grad_sum_share"] == pytest.approx(1, rel=1e-5)
        assert found["softmax/mean_grad_last"] > 0
        assert abs(found["softmax/mean_grad_cosine"]) <= 1.001
    else:
        assert found["softmax/grad_sum_share"] < 1e-5


# --- sharpness ------------------------------------------------------------------------------------------------


def test_sharpness_is_that_of_a_dense_hessian_by_finite_differences():
    spec = make(["sharpness"], model=Mlp(widths=[5], activation="tanh"), optimizer=SGD(lr=0.5, momentum=0.9))
    view, found = look(spec, weights(spec), steps=40)
    params, update = arrays(view.params), arrays(view.updated)
    names, sizes = list(params), [value.size for value in params.values()]
    examples = (np.asarray(view.examples.inputs), np.asarray(view.examples.targets))
    recipe = reference.Recipe(activation="tanh", loss="cross_entropy", logit_scale=1.0)

    def gradient(flat: np.ndarray) -> np.ndarray:
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        at = {name: part.reshape(params[name].shape) for name, part in zip(names, parts, strict=True)}
        grads = reference.loss_and_gradient(at, *examples, recipe)[2]
        return np.concatenate([grads[name].ravel() for name in names])

    flat = np.concatenate([params[name].ravel() for name in names])
    columns = [(gradient(flat + h) - gradient(flat - h)) / 2e-5 for h in 1e-5 * np.eye(len(flat))]
    hessian = (np.array(columns) + np.array(columns).T) / 2
    u = np.concatenate([(update[name] - params[name]).ravel() for name in names])
    assert found["sharpness/update"] == pytest.approx(u @ hessian @ u / (u @ u), rel=1e-4)
    values = np.linalg.eigvalsh(hessian)
    largest = values[np.abs(values).argmax()]
    v = gradient(flat)
    for _ in range(10):
        v = hessian @ v / np.linalg.norm(hessian @ v)
    assert found["sharpness/top"] == pytest.approx(v @ hessian @ v, rel=1e-4)
    assert 0.9 * largest < found["sharpness/top"] <= largest * 1.0001


# --- names and plans ------------------------------------------------------------------------------------------


def test_the_probes_of_a_plan_are_those_of_the_step():
    assert FACTS.keys() == PROBES.keys()
    assert [facts().name for facts in FACTS.values()] == list(FACTS)
    at_evaluation = {"progress", "circularity", "rqi", "circuits", "irreps"}
    assert {name for name, facts in FACTS.items() if facts.at_evaluation} == at_evaluation


@pytest.mark.parametrize("model", [NETWORK, Mlp(widths=[5, 4])])
def test_a_plan_counts_the_columns_of_each_probe(model):
    plain = make([], model=model)
    for probe in ALL:
        spec = make([probe], model=model, numerics=Numerics())
        view = look_at_shapes(spec)
        found = jax.eval_shape(partial(PROBES[probe], spec), view)
        assert metric_count(spec) - metric_count(plain) == len(found), probe
        assert all(value.shape == () and value.dtype == jnp.float32 for value in found.values())


def look_at_shapes(spec: RunSpec) -> Any:
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in parameter_shapes(spec).items()}
    examples = Examples(jax.ShapeDtypeStruct((29, 3), jnp.int32), jax.ShapeDtypeStruct((29,), jnp.int32))

    def view(params, examples):
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        return step(spec, start(spec, params, hyper), hyper, examples)[1]._replace(first=params)

    return jax.eval_shape(view, params, examples)


def test_probes_are_part_of_the_program_and_not_of_the_run():
    one, other = make(["radial", "drift"]), make([])
    assert run_id(one) == run_id(other)
    assert program_key(one) != program_key(other)


def test_a_plan_knows_which_probes_are_dear():
    shares = probe_shares(make(ALL, numerics=Numerics()))
    assert shares["sharpness"] > 1 > shares["radial"]


# --- in the engine --------------------------------------------------------------------------------------------

BASE = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"name": "mlp", "widths": [8], "activation": "tanh"},
    "optimizer": {"name": "adam", "lr": 0.01},
    "constraint": {"name": "fixed_norm"},
    "train": {"steps": 40, "batch": 8},
}


def train(folder: Path, probes: list[str], name="probed", **more: Any) -> Results:
    log = {"every": 5, "eval_every": 10, "snapshot_every": 20, "probes": probes}
    sweep = {"name": name, "base": BASE, "log": log, "engine": {"lanes": 4}}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(sweep | {"parameters": {"seed": {"min": 0, "max": 5}}} | more))
    return grokjax.run(path, folder / name)


@pytest.fixture(scope="module")
def probed(tmp_path_factory) -> Results:
    return train(tmp_path_factory.mktemp("probed"), [*reversed(ALL), "progress", "radial"])


@pytest.mark.as_shipped
def test_probes_change_no_bit_of_the_trajectory(probed, tmp_path):
    plain = train(tmp_path, [])
    assert plain.run_ids == probed.run_ids
    of_plain, of_probed = plain.curves(), probed.curves()
    for name in set(of_plain.columns) - {"run_id"}:
        assert of_plain[name].to_numpy().tobytes() == of_probed[name].to_numpy().tobytes(), name
    for run in plain.run_ids:
        for name, value in plain.params(run).items():
            assert value.tobytes() == probed.params(run)[name].tobytes()


@pytest.mark.as_shipped
def test_what_describes_an_update_is_null_at_the_end(probed):
    curves = probed.curves()
    assert any(name.startswith("radial_share/update") for name in curves.columns)
    for name in set(curves.columns) - {"run_id", "step"}:
        known = curves[name].notna() | (curves["step"] == 0)  # some are undefined where nothing has moved yet
        ends = curves["step"] == 40
        if is_of_update(name):
            assert not known[ends].any(), name
        elif not name.startswith(("test/", "train_set/", "progress/", "stable_rank/")):
            assert known.all(), name


@pytest.mark.as_shipped
def test_drift_begins_at_nothing_and_grows(probed):
    curves = probed.curves(["drift/W.0", "init_cosine/W.0"])
    at_start = curves[curves["step"] == 0]
    assert (at_start["drift/W.0"].abs() < 1e-6).all()  # also of the runs that took a lane over
    assert len(at_start) == 6
    ends = curves[curves["step"] == 40]
    assert (ends["drift/W.0"] > 0.01).all()


@pytest.mark.as_shipped
def test_progress_in_the_step_is_that_of_the_stored_parameters(probed):
    from grokjax.analysis.progress import progress

    stored = progress(probed, probed.run_ids[0], steps=[20])
    curves = probed.curves(runs=probed.run_ids[0])
    row = curves[curves["step"] == 20].iloc[0]
    for name in ("stable_rank/W.0", "progress/gini_in", "progress/ipr_out", "progress/distance_irrelevance"):
        assert row[name] == pytest.approx(float(stored[name].iloc[0]), rel=1e-4), name
    evaluated = curves[curves["stable_rank/W.0"].notna()]["step"]
    assert list(evaluated) == [0, 10, 20, 30, 40]


def test_a_run_given_more_steps_keeps_its_start(tmp_path):
    train(tmp_path, ["drift"])
    longer = {"train": {"steps": 60, "batch": 8}}
    extended = train(tmp_path, ["drift"], base=BASE | longer)
    whole = train(tmp_path, ["drift"], name="whole", base=BASE | longer)
    both = [results.curves(["drift/W.0", "drift/W.1"], extended.run_ids[0]) for results in (extended, whole)]
    assert list(both[0]["step"]) == list(both[1]["step"]) == list(range(0, 61, 5))
    for name in ("drift/W.0", "drift/W.1"):
        assert both[0][name].to_numpy() == pytest.approx(both[1][name].to_numpy(), rel=1e-6)


@pytest.mark.as_shipped
def test_a_replay_meets_probes_to_the_bit_and_can_add_others(probed, tmp_path):
    run = probed.run_ids[1]
    made = grokjax.replay(probed, run, 20, 40, every=5)
    moments = list(made)
    assert made.difference is None
    assert "radial_share/update/total" in moments[0].record
    plain = train(tmp_path, [])
    added = list(grokjax.replay(plain, run, 20, 35, every=5, probes=["drift", "balance", "progress"]))
    for one, other in zip(moments, added, strict=False):
        for name in ("drift/W.1", "balance/inner/W.0", "stable_rank/W.0"):
            if name in one.record:
                assert one.record[name] == pytest.approx(other.record[name], rel=1e-4), name
    with pytest.raises(ValueError, match="did you mean drift"):
        grokjax.replay(plain, run, 20, 35, probes=["drif"])
