"""W&B's distributions are drawn from as W&B does: against scipy's, and against the formulas of W&B's own sampler."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from grokjax.sweep.axes import WORDS, draw, read_parameters
from grokjax.sweep.distributions import COUNTABLE, KINDS, Distribution
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep

# of the package `sweeps` of W&B, config/schema.json
OF_WANDB = {
    "constant", "categorical", "int_uniform", "uniform", "q_uniform", "log_uniform", "log_uniform_values",
    "q_log_uniform", "q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values", "normal", "q_normal",
    "log_normal", "q_log_normal", "beta", "q_beta",
}  # fmt: skip
LOW, HIGH = 1e-4, 1e-1
LOGS = stats.uniform(math.log(LOW), math.log(HIGH) - math.log(LOW))
EXPONENTS = stats.uniform(-3, 5)


def axis_of(**entry):
    mistakes = []
    (axis,) = read_parameters({"x": entry}, ("parameters",), lambda *mistake: mistakes.append(mistake))
    assert not mistakes
    return axis


def sample(count=4000, **entry):
    axis = axis_of(**entry)
    return np.array([draw(axis, 11, index)[0][0] for index in range(count)])


def refusal(text):
    with pytest.raises(SweepError) as caught:
        expand(parse_sweep(text, "s.yaml", Path(".")))
    return [str(mistake) for mistake in caught.value.mistakes]


def test_every_distribution_of_wandb_is_there_and_no_other():
    assert set(WORDS) == OF_WANDB


CONTINUOUS = [
    ({"distribution": "uniform", "min": -2.0, "max": 3.0}, stats.uniform(-2, 5).cdf),
    ({"distribution": "log_uniform", "min": -3, "max": 2}, lambda x: EXPONENTS.cdf(np.log(x))),
    ({"distribution": "log_uniform_values", "min": LOW, "max": HIGH}, lambda x: LOGS.cdf(np.log(x))),
    ({"distribution": "inv_log_uniform", "min": -3, "max": 2}, lambda x: 1 - EXPONENTS.cdf(np.log(1 / x))),
    (
        {"distribution": "inv_log_uniform_values", "min": LOW, "max": HIGH},
        lambda x: 1 - stats.uniform(-math.log(HIGH), math.log(HIGH / LOW)).cdf(np.log(1 / x)),
    ),
    ({"distribution": "normal", "mu": 3, "sigma": 0.5}, stats.norm(3, 0.5).cdf),
    ({"distribution": "normal"}, stats.norm(0, 1).cdf),
    ({"distribution": "log_normal", "mu": -1, "sigma": 0.7}, stats.lognorm(s=0.7, scale=math.exp(-1)).cdf),
    ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5).cdf),
    ({"distribution": "beta"}, stats.uniform(0, 1).cdf),
]


@pytest.mark.parametrize(
    ("entry", "cdf"), CONTINUOUS, ids=lambda case: str(case.values()) if "get" in dir(case) else ""
)
def test_a_continuous_distribution_has_the_cdf_of_wandbs(entry, cdf):
    assert stats.kstest(sample(**entry), cdf).pvalue > 0.01


QUANTIZED = [
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, stats.uniform(0, 1).cdf),
    ({"distribution": "q_log_uniform", "min": 1, "max": 4, "q": 4}, lambda x: stats.uniform(1, 3).cdf(np.log(x))),
    (
        {"distribution": "q_log_uniform_values", "min": 10, "max": 100, "q": 10},
        lambda x: stats.uniform(math.log(10), math.log(10)).cdf(np.log(x)),
    ),
    ({"distribution": "q_normal", "mu": 3, "sigma": 0.5, "q": 0.5}, stats.norm(3, 0.5).cdf),
    ({"distribution": "q_normal", "sigma": 2}, stats.norm(0, 2).cdf),
    ({"distribution": "q_log_normal", "mu": 1, "sigma": 0.5, "q": 1}, stats.lognorm(s=0.5, scale=math.e).cdf),
    ({"distribution": "q_beta", "a": 2, "b": 2, "q": 0.2}, stats.beta(2, 2).cdf),
]


@pytest.mark.parametrize(("entry", "cdf"), QUANTIZED, ids=lambda case: str(case.values()) if "get" in dir(case) else "")
def test_a_quantized_distribution_rounds_to_multiples_as_often_as_wandbs(entry, cdf):
    q = entry.get("q", 1)
    found = sample(**entry)
    counts = Counter(np.rint(found / q).astype(int).tolist())
    assert np.allclose(found / q, np.rint(found / q))
    assert all(isinstance(value, int) == isinstance(q, int) for value in found.tolist())
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = {step: np.diff(np.nan_to_num(cdf(np.maximum([(step - 0.5) * q, (step + 0.5) * q], cdf_floor(cdf)))))
                    for step in counts}  # fmt: skip
    for step, count in counts.items():
        share = float(expected[step][0])
        assert abs(count - 4000 * share) < 5 * math.sqrt(4000 * share * (1 - share)) + 1


def cdf_floor(cdf):
    """0 for a distribution over positive numbers only, which takes logarithms of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.inf if np.isfinite(cdf(-1.0)) else 0.0


def test_int_uniform_draws_both_ends_as_often_as_the_rest():
    counts = Counter(sample(distribution="int_uniform", min=2, max=5).tolist())
    assert sorted(counts) == [2, 3, 4, 5]
    assert all(abs(count - 1000) < 120 for count in counts.values())


def test_values_of_a_range_stay_within_it():
    for kind in ("log_uniform_values", "inv_log_uniform_values"):
        found = sample(distribution=kind, min=0.1, max=0.1 + 1e-15, count=200)
        assert found.min() >= 0.1
        assert found.max() <= 0.1 + 1e-15


def test_probabilities_weight_the_values_and_one_of_0_is_never_drawn():
    for named in ({}, {"distribution": "categorical"}, {"distribution": "categorical_w_probabilities"}):
        counts = Counter(sample(values=["a", "b", "c"], probabilities=[0.7, 0.3, 0], **named).tolist())
        assert set(counts) == {"a", "b"}
        assert abs(counts["a"] - 2800) < 150


def test_a_draw_does_not_depend_on_how_many_there_are():
    entry = {"distribution": "beta", "a": 2, "b": 2}
    assert sample(20, **entry).tolist() == sample(10, **entry).tolist() + sample(20, **entry).tolist()[10:]


def test_a_grid_has_those_that_wandb_allows_in_it():
    for kind in KINDS:
        numbers = {"min": 1, "max": 3, "mu": 1, "sigma": 1, "a": 1, "b": 1, "q": 1}
        entry = ", ".join(f"{word}: {numbers[word]}" for word in KINDS[kind].numbers)
        text = f"parameters: {{init.scale: {{distribution: {kind}, {entry}}}}}\n"
        if kind in COUNTABLE:
            assert len(expand(parse_sweep(text, "s.yaml", Path("."))).runs) == 3
        else:
            (message,) = refusal(text)
            assert f"{kind} " in message
            assert "method grid needs values" in message
    (message,) = refusal("parameters: {seed: {values: [1, 2], probabilities: [0.5, 0.5]}}\n")
    assert "probabilities weight the draws of method random" in message


HEAD = "method: random\nrun_cap: 3\nparameters: "


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("{seed: {values: [1, 2], probabilities: [0.5]}}", "3:37: seed: each value needs a probability: 2 values, 1"),
        ("{seed: {values: [1, 2], probabilities: [0.5, 0.6]}}", "seed: probabilities must sum to 1; the sum is 1.1"),
        ("{seed: {values: [1, 2], probabilities: [1.5, -0.5]}}", "must be a list of numbers from 0 to 1, got [1.5"),
        ("{seed: {values: [1, 2], probabilities: 1}}", "must be a list of numbers from 0 to 1, got 1"),
        ("{seed: {probabilities: [1]}}", "an axis needs value, values, or min and max"),
        ("{init.scale: {distribution: beta, a: 0}}", "3:47: init.scale: a must be above 0, got 0"),
        ("{init.scale: {distribution: q_normal, q: 0}}", "q must be above 0"),
        ("{init.scale: {distribution: log_uniform, min: 0, max: 1000}}", "max must be an exponent of e, from -700 to"),
        ("{init.scale: {distribution: inv_log_uniform_values, min: 0, max: 1}}", "needs min above 0, got 0"),
        ("{init.scale: {distribution: log_uniform}}", "log_uniform needs max"),
        ("{init.scale: {distribution: log_normal, min: 1}}", "min has no meaning for log_normal"),
        ("{init.scale: {distribution: loguniform, min: 1, max: 2}}", "(did you mean log_uniform_values? its min and"),
        ("{init.scale: {distribution: choice, values: [1]}}", "(did you mean categorical?)"),
        ("{init.scale: {distribution: lognormal}}", "(did you mean log_normal?)"),
        ("{init.scale: {mean: 1, std: 2}}", "unknown key mean (did you mean mu?)"),
    ],
)
def test_a_wrong_entry_is_told_at_its_place(axis, said):
    assert any(said in message for message in refusal(HEAD + axis)), refusal(HEAD + axis)


def test_exponents_that_look_like_values_are_remarked_upon():
    made = expand(parse_sweep(HEAD + "{optimizer.lr: {distribution: log_uniform, min: 0.001, max: 0.1}}", "s", Path()))
    assert "are exponents: 0.001 and 0.1 mean 1.001 to 1.105; log_uniform_values takes the values" in made.warnings[0]
    usual = expand(parse_sweep(HEAD + "{optimizer.lr: {distribution: log_uniform, min: -9, max: -2}}", "s", Path()))
    assert not usual.warnings
    assert all(math.exp(-9) <= run.spec.optimizer.lr <= math.exp(-2) for run in usual.runs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_of_one_value_is_known_as_one(kind):
    words = KINDS[kind].numbers
    narrow = Distribution(kind, {word: {"sigma": 0, "q": 1}.get(word, 2) for word in words})
    rng = np.random.default_rng(0)
    drawn = {narrow.draw(rng) for _ in range(20)}
    assert len(drawn) == 1 or not narrow.is_one_value
    assert narrow.is_one_value == ("a" not in words)
