"""Progress measures: against plain NumPy, on networks whose solution was planted by hand, and under symmetries."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import slow_progress
from hypothesis import given, settings
from hypothesis import strategies as st
from quickly import QUICK

from grokjax.probes.fourier import gini, neuron_shares, participation, power, waves
from grokjax.probes.progress import PURE, SQUARED, progress, spectrum
from grokjax.probes.structure import distance_irrelevance, stable_rank, triples
from grokjax.spec.losses import MSE, CrossEntropy
from grokjax.spec.models import MLP, Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Modular
from grokjax.tasks.all import table
from grokjax.tasks.cycle import cycle_of

quick = partial(jax.jit, compiler_options=QUICK)  # most of the time here is the compiler's


def run_spec(op="add", p=7, model=None, mse=False):
    return RunSpec(
        task=Modular(op=op, p=p), model=model or Transformer(), loss=MSE() if mse else CrossEntropy(precision="exact")
    )


def small(**options):
    return Transformer(d_model=8, heads=2, d_head=3, **({"d_mlp": 12} | options))


def weights(spec, seed=3):
    p, model = spec.task.p, spec.model
    if isinstance(model, MLP):
        width = model.d_model if model.input == "embedded" else None
        return reference.mlp_weights(p, list(model.widths), width, model.bias, seed)
    pre = model.layernorm == "pre"
    return reference.transformer_weights(p, model.d_model, 2, 3, model.d_mlp, model.layers, pre, seed)


# --- against NumPy --------------------------------------------------------------------------------------------

CASES = {
    "transformer": run_spec(model=small()),
    "two layers, even p, layer norm": run_spec("subtract", 6, small(layers=2, layernorm="pre", activation="gelu")),
    "attention only": run_spec(model=small(d_mlp=0)),
    "no group law": run_spec("quadratic", 5, small()),
    "random labels": run_spec("random", 6, MLP(widths=[9])),
    "embedded, even p": run_spec("add", 8, MLP(widths=[10], input="embedded", d_model=5, activation="tanh")),
    "product": run_spec("multiply", 7, MLP(widths=[10], activation="square", bias=False), mse=True),
    "quotient, two hidden layers": run_spec("divide", 11, MLP(widths=[7, 6], input="embedded", d_model=4)),
    "product that is no group": run_spec("multiply", 6, MLP(widths=[6])),
}


def slow_and_fast(spec, params, pure, keys=True, scale=1.7):
    examples = table(spec.task).inputs
    train = examples[np.random.Generator(np.random.PCG64(5)).permutation(len(examples))[: len(examples) // 2]]
    activation = spec.model.activation
    slow, own = slow_progress.progress(
        params, spec.task.op, spec.task.p, activation, train, isinstance(spec.loss, MSE), scale, pure
    )
    given_keys = None
    if keys and own is not None:
        given_keys = jnp.array([k + 1 in own for k in range(cycle_of(spec.task).n // 2)])
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        held = {name: jnp.asarray(value, jnp.float64) for name, value in params.items()}
        fast = quick(partial(progress, spec))(held, jnp.asarray(train), scale, given_keys)
    return slow, {name: float(value) for name, value in fast.items()}


@pytest.mark.parametrize("spec", CASES.values(), ids=CASES)
def test_every_measure_is_that_of_plain_numpy(spec):
    """Random weights have no neuron of one frequency, so that they are told here what counts as one."""
    slow, fast = slow_and_fast(spec, weights(spec), pure=0.42)
    told = ("progress/key_frequencies", "progress/pure_neurons")
    assert set(slow) == set(fast)
    ranks = [name for name in slow if name.startswith("stable_rank/")]
    for name in set(slow) - set(told):
        assert fast[name] == pytest.approx(slow[name], rel=1e-3 if name in ranks else 2e-6, abs=1e-7), name
    if told[0] in slow and cycle_of(spec.task).sign:
        assert slow[told[0]] > 0
        assert 0 < slow["progress/logit_share"] < 1


def test_key_frequencies_are_found_as_in_plain_numpy():
    params = gromov(11, [2, 5], noise=0.3)
    spec = run_spec("add", 11, MLP(widths=[32], activation="square", bias=False))
    slow, fast = slow_and_fast(spec, params, PURE * SQUARED, keys=False, scale=1.0)
    assert 0 < slow["progress/pure_neurons"] < 1
    assert fast == pytest.approx(slow, rel=1e-3)


# --- planted solutions ----------------------------------------------------------------------------------------


def phases():
    """Pairs of phases on which every sum of waves but that of equal phases cancels."""
    a, b = np.meshgrid(np.arange(4), np.arange(4), indexing="ij")
    return 2 * np.pi * a.ravel() / 4, 2 * np.pi * b.ravel() / 4


def gromov(p, frequencies, sign=1, noise=0.0):
    """Gromov 2023's analytic solution: (cos(wa + u) + cos(wb + v))^2 read with cos(wc + u + v) is cos w(a + b - c)."""
    u, v = phases()
    x = np.arange(p)[:, None]
    of_a, of_b, out = (
        np.concatenate([np.cos(2 * np.pi * k / p * direction * x + phase) for k in frequencies], axis=1)
        for direction, phase in ((1, u), (sign, v), (1, u + v))
    )
    draw = np.random.Generator(np.random.PCG64(1)).normal
    params = {"W.0": np.concatenate([of_a, of_b]), "W.1": out.T}
    return {name: value + noise * draw(size=value.shape) for name, value in params.items()}


def clock(p, frequencies):
    """A transformer that does the same: one head looks at a, one at b, each neuron squares a wave of both, and W_U
    turns the sum of the squares into cos w(a + b - c)."""
    f, u, v = len(frequencies), *phases()
    width = 2 * f
    read, of_a, of_b, written = (slice(at * width, (at + 1) * width) for at in range(4))
    at_position = [4 * width + position for position in range(3)]
    d = 4 * width + 3
    angle = 2 * np.pi * np.outer(np.arange(p), frequencies) / p
    circles = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    params = {"W_E": np.zeros((p + 1, d)), "W_pos": np.zeros((3, d)), "W_U": np.zeros((d, p + 1))}
    params["W_E"][:p, read], params["W_pos"][range(3), at_position] = circles, 1
    params["W_U"][written, :p] = circles.T
    for name in ("W_Q", "W_K", "W_V"):
        params[f"{name}.0"] = np.zeros((2, d, width))
    params["W_O.0"] = np.zeros((2, width, d))
    for head, to in enumerate((of_a, of_b)):
        params["W_Q.0"][head, at_position[2], 0] = 50
        params["W_K.0"][head, at_position[head], 0] = 50
        params["W_V.0"][head, read], params["W_O.0"][head, :, to] = np.eye(width), np.eye(width)
    w_in, w_out = np.zeros((d, 16 * f)), np.zeros((16 * f, d))
    for at in range(f):
        own = slice(16 * at, 16 * (at + 1))
        for side, phase in ((of_a, u), (of_b, v)):
            w_in[side.start + at, own], w_in[side.start + f + at, own] = np.cos(phase), -np.sin(phase)
        w_out[own, written.start + at], w_out[own, written.start + f + at] = np.cos(u + v), -np.sin(u + v)
    return params | {"W_in.0": w_in, "b_in.0": np.zeros(16 * f), "W_out.0": w_out, "b_out.0": np.zeros(d)}


COMPILED = {}


def compiled(spec):
    def both(params, train, logit_scale, keys):
        return progress(spec, params, train, logit_scale, keys), spectrum(spec, params, logit_scale, keys)

    return COMPILED.setdefault(spec.model_dump_json(), quick(both))


def measured(spec, params, train=None, logit_scale=1.0, keys=None):
    """Scalars, and what there is a frequency."""
    train = table(spec.task).inputs if train is None else train
    held = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    with jax.default_matmul_precision("highest"):
        found, bands = compiled(spec)(held, jnp.asarray(train), logit_scale, keys)
    return {name: float(value) for name, value in found.items()}, {name: np.array(it) for name, it in bands.items()}


PLANTED = {
    "square MLP": (run_spec("add", 13, MLP(widths=[48], activation="square", bias=False)), [1, 4, 6], gromov),
    "square MLP, a - b": (
        run_spec("subtract", 13, MLP(widths=[48], activation="square", bias=False)),
        [2, 3, 5],
        partial(gromov, sign=-1),
    ),
    "square MLP, even p": (run_spec("add", 14, MLP(widths=[32], activation="square", bias=False)), [1, 6], gromov),
    "transformer": (
        run_spec("add", 13, Transformer(d_model=27, heads=2, d_head=6, d_mlp=48, activation="square")),
        [1, 4, 6],
        clock,
    ),
}


@pytest.mark.parametrize(("spec", "frequencies", "plant"), PLANTED.values(), ids=PLANTED)
def test_the_planted_solution_is_found(spec, frequencies, plant):
    p, params = spec.task.p, plant(spec.task.p, frequencies)
    found, bands = measured(spec, params, logit_scale=3.0)
    assert [k + 1 for k in range(p // 2) if bands["is_key"][k]] == frequencies
    assert found["progress/key_frequencies"] == len(frequencies)
    assert found["progress/restricted_loss"] < 1e-6
    assert found["progress/trig_loss"] < 1e-6
    assert found["progress/excluded_loss"] == pytest.approx(np.log(p), rel=1e-3)
    assert found["progress/logit_share"] == pytest.approx(1, abs=1e-5)
    assert found["progress/trig_share"] == pytest.approx(1, abs=1e-5)
    assert found["progress/neuron_share"] == pytest.approx(SQUARED, abs=1e-5)
    assert found["progress/pure_neurons"] == 1
    assert found["progress/ipr_out"] == pytest.approx(1, abs=1e-5)
    directions, own = p - 1, 2 * len(frequencies)
    for side in ("in", "out"):
        assert found[f"progress/gini_{side}"] == pytest.approx(1 - own / directions, abs=1e-4)
        assert bands[f"norm_{side}"][np.array(frequencies) - 1].min() > 1
        assert np.delete(bands[f"norm_{side}"], np.array(frequencies) - 1).max() < 1e-4
    assert bands["neurons"].sum() == spec.model.widths[0] if isinstance(spec.model, MLP) else spec.model.d_mlp
    assert bands["logit_share"].sum() == pytest.approx(1, abs=1e-5)


def test_key_frequencies_of_the_end_are_not_those_of_the_present():
    """A frequency that no neuron is of yet is missing from the present ones, and there in the final ones."""
    spec = run_spec("add", 13, MLP(widths=[32], activation="square", bias=False))
    params = gromov(13, [1, 4])
    blurred = np.random.Generator(np.random.PCG64(2)).normal(size=(26, 16))
    early = params | {"W.0": np.concatenate([params["W.0"][:, :16], params["W.0"][:, 16:] * 0.4 + blurred], axis=1)}
    final = jnp.arange(6) == 0
    final = final | (jnp.arange(6) == 3)
    told, bands = measured(spec, early, keys=final)
    own, _ = measured(spec, early, keys=jnp.asarray(bands["neurons"] > 0))
    assert own["progress/key_frequencies"] == 1
    assert told["progress/key_frequencies"] == 2
    assert told["progress/logit_share"] > own["progress/logit_share"]
    assert told["progress/trig_loss"] < own["progress/trig_loss"]


def test_a_random_network_has_no_key_structure():
    spec = run_spec("add", 31, Transformer(d_model=32, heads=2, d_head=3, d_mlp=64))
    found, bands = measured(spec, weights(spec))
    assert found["progress/key_frequencies"] == 0 == bands["is_key"].sum()
    assert found["progress/neuron_share"] < 0.35
    assert found["progress/gini_in"] < 0.2
    assert found["progress/ipr_in"] < 0.2
    assert found["progress/logit_share"] == found["progress/trig_share"] == 0
    assert found["progress/restricted_loss"] > 0.8 * np.log(31)


def test_only_train_pairs_count_in_the_excluded_loss():
    """With no key frequency it is the train loss without `=`, and products with 0 are left out of it."""
    spec = run_spec("multiply", 7, MLP(widths=[10]))
    params, rows = weights(spec), table(spec.task)
    train = rows.inputs[::3]
    found, _ = measured(spec, params, train, keys=jnp.zeros(3, bool))
    logits = reference.network(params, train, "relu")[0][:, 1:]
    wanted = [slow_progress.loss(logits[at], a * b % 7 - 1, False) for at, (a, b, _) in enumerate(train) if a and b]
    assert found["progress/excluded_loss"] == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_group_of_two_has_ranks_only():
    found, bands = measured(run_spec("add", 2, MLP(widths=[3])), reference.mlp_weights(2, [3], None, True, 1))
    assert set(found) == {"stable_rank/W.0", "stable_rank/W.1"}
    assert not bands


TURNED = run_spec("add", 9, small())
TRAIN = jnp.asarray(table(TURNED.task).inputs[::2])
MEASURE = quick(partial(progress, TURNED))


# --- clock and pizza ------------------------------------------------------------------------------------------


def symmetricity(params):
    held = {name: jnp.float32(value) for name, value in params.items()}
    return float(MEASURE(held, TRAIN, 1.0, jnp.zeros(4, bool))["progress/gradient_symmetricity"])


def test_a_network_that_only_adds_its_operands_is_symmetric():
    """Uniform attention: the last position sees (E_a + E_b) W_V W_O alone, so both gradients are one."""
    params = weights(TURNED)
    found = [symmetricity(it) for it in (params | {"W_Q.0": np.zeros((2, 8, 3))}, params)]
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[1] < 0.999


def test_distance_irrelevance_is_0_where_only_the_distance_counts_and_1_where_it_does_not():
    """One neuron is 1 at a - b = 0, whatever the answer; or the right logit depends on the answer alone."""
    cycle = cycle_of(Modular(op="add", p=7))
    i, j = np.divmod(np.arange(49), 7)
    of_distance = jnp.cos(2 * np.pi * ((i - j) % 7) / 7)
    of_answer = jnp.cos(2 * np.pi * ((i + j) % 7) / 7)
    assert float(distance_irrelevance(of_distance, cycle.by_distance)) == pytest.approx(0, abs=1e-6)
    assert float(distance_irrelevance(of_answer, cycle.by_distance)) == pytest.approx(1, abs=1e-6)


# --- parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 7, 12, 113])
def test_the_fourier_basis_is_orthonormal(n):
    basis = waves(n)
    rows = np.concatenate([np.full((1, n), n**-0.5), *basis])
    rows = rows[:-1] if n % 2 == 0 else rows
    assert rows.shape == (n, n)
    np.testing.assert_allclose(rows @ rows.T, np.eye(n), atol=1e-6)
    x = np.random.Generator(np.random.PCG64(n)).normal(size=(n, 2)).astype(np.float32)
    centered = x - x.mean(0)
    np.testing.assert_allclose(power(jnp.asarray(x), basis).sum(0), (centered**2).sum(0), rtol=1e-4)


@pytest.mark.parametrize("op", ["add", "subtract", "multiply", "divide"])
def test_pairs_of_a_cycle_have_the_task_s_answers(op):
    task = Modular(op=op, p=11)
    cycle = cycle_of(task)
    labels = {(a, b): label for (a, b, _), label in zip(*table(task)[:2], strict=True)}
    for at, (a, b, equals) in enumerate(cycle.tokens):
        assert equals == 11
        assert labels[a, b] == cycle.elements[cycle.results[at]]
    for lines in (cycle.by_result, cycle.by_distance):
        assert sorted(lines.ravel()) == list(range(cycle.n**2))
    assert (cycle.results[cycle.by_result] == np.arange(cycle.n)[:, None]).all()
    i, j = np.divmod(np.arange(cycle.n**2), cycle.n)
    distances = (i - cycle.sign * j) % cycle.n
    assert (distances[cycle.by_distance] == np.arange(cycle.n)[:, None]).all()


def test_triples_are_those_of_the_published_code():
    a, b, c = triples(5)
    assert max(map(max, (a, b, c))) < 5
    assert len({*zip(a.tolist(), b.tolist(), c.tolist(), strict=True)}) == 100


RANK = quick(partial(stable_rank, "W_E"))


def rank_of(W):
    return float(RANK(W))


def test_gini_participation_and_ranks_at_their_ends():
    assert float(gini(jnp.array([2.0, 2.0, 2.0]))) == pytest.approx(0, abs=1e-7)
    assert float(gini(jnp.array([0.0, 5.0, 0.0, 0.0]))) == pytest.approx(0.75)
    assert float(gini(jnp.zeros(3))) == 0
    assert float(participation(jnp.eye(4))) == 1
    assert float(participation(jnp.ones((4, 2)))) == 0.25
    assert rank_of(jnp.eye(5, 9)) == pytest.approx(5, rel=1e-5)
    assert rank_of(1e-18 * jnp.outer(jnp.arange(1.0, 6), jnp.ones(9))) == pytest.approx(1, rel=1e-5)
    assert rank_of(jnp.zeros((5, 9))) == 0


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 2**31 - 1), st.floats(0.0, 1.0))
def test_stable_rank_is_within_a_thousandth_of_that_of_singular_values(seed, decay):
    rng = np.random.Generator(np.random.PCG64(seed))
    left, right = (np.linalg.qr(rng.normal(size=(24, 24)))[0] for _ in range(2))
    W = left @ np.diag(1 - decay * np.linspace(0, 1, 24) ** rng.uniform(0.1, 4)) @ right
    assert rank_of(jnp.asarray(W[:, :20], jnp.float32)) == pytest.approx(
        slow_progress.stable_rank("W.0", W[:, :20]), rel=1e-3
    )


# --- symmetries -----------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.permutations(range(12)), st.permutations(range(2)), st.integers(0, 1000))
def test_the_order_of_neurons_and_heads_does_not_matter(neurons, heads, seed):
    params = {name: np.float32(value) for name, value in weights(TURNED, seed).items()}
    other = params | {name: params[name][list(heads)] for name in ("W_Q.0", "W_K.0", "W_V.0", "W_O.0")}
    order = list(neurons)
    other |= {"W_in.0": params["W_in.0"][:, order], "b_in.0": params["b_in.0"][order]}
    other |= {"W_out.0": params["W_out.0"][order]}
    keys = jnp.array([True, False, True, False])
    with jax.default_matmul_precision("highest"):
        one, two = MEASURE(params, TRAIN, 1.0, keys), MEASURE(other, TRAIN, 1.0, keys)
    for name in one:
        assert float(two[name]) == pytest.approx(float(one[name]), rel=2e-4, abs=1e-5), name


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.5, 20))
def test_a_shift_of_the_operands_and_a_scale_change_no_share(of_a, of_b, scale):
    """a -> a + s turns every wave, and no power: neurons' shares stay, whatever the two operands' shifts are."""
    basis, x = waves(9), np.random.Generator(np.random.PCG64(4)).normal(size=(3, 9, 9)).astype(np.float32)
    turned = scale * np.roll(x, (of_a, of_b), axis=(1, 2)) + 3
    one, two = (np.array(neuron_shares(jnp.asarray(it.reshape(3, -1)), basis)) for it in (x, turned))
    np.testing.assert_allclose(one, two, atol=2e-5)
    assert (one.sum(0) <= 1).all()
