"""Many runs at once: a lane's bits depend on neither its place nor its neighbours, and nothing compiles twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quickly import QUICK
from safetensors.numpy import save_file

import grokjax
from grokjax.engine.devices import describe_device
from grokjax.engine.loop import Program, begin_chunk, train_chunk
from grokjax.engine.states import flatten
from grokjax.plan.plan import Bucket, Chunk, Plan, make_plan
from grokjax.results.segment import End, Segment
from grokjax.spec.hypers import hyper_of
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.run import Run
from grokjax.tasks.examples import split
from grokjax.train.state import Examples
from grokjax.train.step import start, step

WIDTH = 8  # two lanes on each of the four devices
TRANSFORMER = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 16},
    "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.5, "clip_norm": 1.0},
    "train": {"steps": 40},
}
MLP = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"name": "mlp", "widths": [16]},
    "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.9},
    "train": {"steps": 40},
}


@dataclass
class Seen:
    """Everything that was recorded of one run."""

    steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float | None]] = field(default_factory=dict)
    end: End | None = None
    snapshots: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)  # step -> all that continues

    @property
    def params(self) -> dict[str, np.ndarray]:
        """At the end."""
        last = self.snapshots[max(self.snapshots)]
        return {name.removeprefix("params/"): value for name, value in last.items() if name.startswith("params/")}

    def curve(self, name: str) -> dict[int, float]:
        """Step -> value, where recorded."""
        return {t: value for t, value in zip(self.steps, self.metrics[name], strict=True) if value is not None}

    def bits(self) -> tuple:
        """Comparable to the bit, nan included."""
        columns = {name: np.array(values, np.float64).tobytes() for name, values in self.metrics.items()}
        snapshots = {
            step: {name: value.tobytes() for name, value in state.items()} for step, state in self.snapshots.items()
        }
        return self.steps, columns, snapshots, self.end


@dataclass
class Memory:
    """A writer that keeps what the engine hands over."""

    runs: dict[str, Seen] = field(default_factory=dict)
    run_steps: int = 0
    lane_steps: int = 0

    checkpoints: list[tuple[int, dict[str, np.ndarray]]] = field(default_factory=list)
    every_segment: bool = False  # whether a checkpoint is wanted after each

    def is_due(self) -> bool:
        return self.every_segment

    def checkpoint(self, segment: int, arrays: dict[str, np.ndarray]) -> None:
        self.checkpoints.append((segment, arrays))

    def flush(self) -> None:
        pass

    def segment(self, segment: Segment) -> None:
        rows = segment.rows
        self.run_steps += segment.run_steps
        self.lane_steps += segment.lane_steps
        for row, run in enumerate(rows.run):
            seen = self.runs.setdefault(segment.run_ids[run], Seen())
            seen.steps.append(int(rows.step[row]))
            for name, values in rows.metrics.items():
                recorded = name not in rows.recorded or rows.recorded[name][row]
                seen.metrics.setdefault(name, []).append(float(values[row]) if recorded else None)
        for end in segment.ends:
            self.runs[end.run_id].end = end
        for part in segment.snapshots:
            for row, run_id in enumerate(part.run_ids):
                numbers = {"end": part.end, "held": part.held, "finite": part.finite, "loss_max": part.loss_max}
                state = {name: value[row] for name, value in (part.state | numbers).items()}
                assert int(part.step[row]) not in self.runs[run_id].snapshots
                self.runs[run_id].snapshots[int(part.step[row])] = state


def plan_of(folder: Path, base: dict[str, Any], arms: dict[str, dict[str, Any]], **top: Any) -> Plan:
    """The plan of a sweep with one run an arm, `base` merged with the arm's dotted keys."""
    folder.mkdir(exist_ok=True)
    sweep = {"name": "lanes", "base": base, "arms": {name: {"base": keys} for name, keys in arms.items()}}
    sweep = {"log": {"every": 5, "eval_every": 10}, "engine": {"lanes": WIDTH}} | sweep | top
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    return make_plan(load_sweep(folder / "sweep.yaml"), describe_device())


@dataclass
class Lanes:
    """One compiled program, and the runs that may ride in it by the name of their arm."""

    program: Program
    named: dict[str, Run]

    @staticmethod
    def of(plan: Plan) -> Lanes:
        (bucket,) = plan.buckets
        return Lanes(Program(bucket, plan.device.count), {run.arms[0]: run for run in bucket.runs})

    @property
    def bucket(self) -> Bucket:
        return self.program.bucket

    def train(self, names: Sequence[str]) -> dict[str, Seen]:
        """Arm -> what was recorded, of a chunk with these runs in this order."""
        memory = self.observe(names)
        return {name: memory.runs[self.named[name].run_id] for name in names}

    def observe(self, names: Sequence[str]) -> Memory:
        chunk = Chunk(0, self.bucket, tuple(self.named[name] for name in names))
        memory = Memory()
        assert train_chunk(self.program, chunk, memory, lambda: False)
        return memory


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The compilations that happen inside."""
    seen: list[str] = []

    def listen(event: str, duration: float, **kwargs: Any) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(str(kwargs.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


# --- neighbours -----------------------------------------------------------------------------------------------

EIGHT = [f"seed{seed}" for seed in range(8)]
SECOND_VALUES: dict[str, Any] = {
    "task.split.seed": 9,
    "task.split.method": "python",
    "model.logit_scale": 2.0,
    "init.scale": 2.0,
    "init.scale_by_matrix": {"W_E": 3.0},
    "init.from_file": "w",
    "optimizer.lr": 0.02,
    "optimizer.b1": 0.5,
    "optimizer.b2": 0.999,
    "optimizer.eps": 1e-4,
    "optimizer.weight_decay": 0.0,
    "optimizer.warmup_steps": 0,
    "optimizer.clip_norm": 0.1,
    "optimizer.lr_by_matrix": {"W_U": 0.0},
    "optimizer.weight_decay_by_matrix": {"W_U": 0.0},
    "train.steps": 39,
    "stop.after_generalization": 5,
    "events.generalization": 0.5,
}


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Lanes:
    folder = tmp_path_factory.mktemp("eight")
    shapes = parameter_shapes(plan_of(folder, TRANSFORMER, {"a": {}}).buckets[0].spec)
    weights = np.random.Generator(np.random.PCG64(0)).normal(scale=0.3, size=(8, 50))
    save_file({name: np.resize(weights, shape).astype(np.float32) for name, shape in shapes.items()}, folder / "w")
    arms: dict[str, dict[str, Any]] = {f"seed{seed}": {"seed": seed} for seed in range(8)}
    arms |= {f"other{seed}": {"seed": seed, "optimizer.lr": 0.03, "train.steps": 13} for seed in range(8)}
    arms |= {"diverges": {"optimizer.lr": 1e25}} | {key: {key: value} for key, value in SECOND_VALUES.items()}
    arms["events.generalization"]["stop.after_generalization"] = 7
    return Lanes.of(plan_of(folder, TRANSFORMER, arms))


@pytest.fixture(scope="module")
def together(eight: Lanes) -> dict[str, Seen]:
    return eight.train(EIGHT)


def test_lanes_are_spread_over_all_devices(eight: Lanes):
    assert jax.local_device_count() == 4
    with eight.program.precision():
        board, queue, _ = begin_chunk(eight.program, Chunk(0, eight.bucket, eight.bucket.runs[:WIDTH]))
    for part, rows in ((board.state, WIDTH), (board.run, WIDTH), (queue, eight.bucket.queue)):
        for value in jax.tree.leaves(part):
            assert len(value.sharding.device_set) == 4
            assert {shard.data.shape[0] for shard in value.addressable_shards} == {rows // 4}


def test_a_lane_is_its_run_alone(eight: Lanes, together: dict[str, Seen]):
    """Against a loop over the unbatched step, within float32's tolerance: widths may differ in the last bits."""
    one = jax.jit(partial(step, eight.bucket.spec), compiler_options=QUICK)
    for name in ("seed0", "seed5"):
        spec = eight.named[name].spec
        table = eight.program.table
        rows = split(spec.task, len(table.targets), spec.task.train_size).train
        train = Examples(jnp.asarray(table.inputs[rows]), jnp.asarray(table.targets[rows]))
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        values = eight.program.starts.stack([eight.named[name]])
        params = {matrix: jnp.asarray(value[0]) for matrix, value in values.items()}
        state = jax.jit(partial(start, eight.bucket.spec), compiler_options=QUICK)(params, hyper)
        losses = []
        for _ in range(41):
            state, view = one(state, hyper, train)
            losses.append(float(view.loss))
        assert int(state.step) == 40, "a run that has ended stays as it is"
        for t, loss in together[name].curve("train/loss").items():
            assert loss == pytest.approx(losses[t], rel=1e-5)
        for matrix, value in together[name].params.items():
            np.testing.assert_allclose(value, state.params[matrix], rtol=1e-3, atol=1e-5)


def test_permuted_lanes_have_the_same_bits(eight: Lanes, together: dict[str, Seen]):
    for order in ([5, 2, 7, 0, 3, 6, 1, 4], [7, 6, 5, 4, 3, 2, 1, 0]):
        permuted = eight.train([EIGHT[lane] for lane in order])
        for name in EIGHT:
            assert permuted[name].bits() == together[name].bits(), name


def test_changed_neighbours_change_no_bit(eight: Lanes, together: dict[str, Seen]):
    for lane in (0, 3, 6):
        neighbours = [f"other{place}" for place in range(8)]
        neighbours[lane] = EIGHT[lane]
        assert eight.train(neighbours)[EIGHT[lane]].bits() == together[EIGHT[lane]].bits()


def test_empty_lanes_change_no_bit_and_reach_no_result(eight: Lanes, together: dict[str, Seen]):
    memory = eight.observe(["seed2", "seed6", "seed1"])
    assert set(memory.runs) == {eight.named[name].run_id for name in ("seed2", "seed6", "seed1")}
    assert memory.run_steps == 3 * 40
    for name in ("seed2", "seed6", "seed1"):
        assert memory.runs[eight.named[name].run_id].bits() == together[name].bits()


def test_a_run_that_diverges_changes_no_bit_of_its_neighbours(eight: Lanes, together: dict[str, Seen]):
    names = [*EIGHT[:3], "diverges", *EIGHT[4:]]
    found = eight.train(names)
    end = found["diverges"].end
    assert end is not None
    assert end.diverged
    for name in names:
        if name != "diverges":
            assert found[name].bits() == together[name].bits(), name


def test_runs_of_different_length_share_a_chunk(eight: Lanes, together: dict[str, Seen]):
    found = eight.train(["other1", "seed1", "other2"])
    assert found["seed1"].bits() == together["seed1"].bits()
    for name in ("other1", "other2"):
        assert found[name].steps == [0, 5, 10, 13]
        assert found[name].end == End(eight.named[name].run_id, 13, False, None)
        assert found[name].metrics["update_norm/W_E"][-1] is None
        assert None not in found[name].metrics["update_norm/W_E"][:-1]


# --- divergence -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def momentum(tmp_path_factory: pytest.TempPathFactory) -> Lanes:
    """Every step recorded and every other one evaluated."""
    arms: dict[str, dict[str, Any]] = {
        "plain": {},
        "overflows": {"optimizer.lr": 100.0, "optimizer.lr_by_matrix": {"W.1": 1e38}},
        "grows": {"optimizer.lr": 1e4, "optimizer.weight_decay": 0.01},
        "long": {"train.steps": 60},
        "short": {"train.steps": 23},
        "shortest": {"train.steps": 1},
    }
    return Lanes.of(plan_of(tmp_path_factory.mktemp("momentum"), MLP, arms, log={"every": 1, "eval_every": 2}))


def test_divergence_names_the_matrix_and_keeps_the_last_finite_parameters(momentum: Lanes):
    seen = momentum.train(["overflows"])["overflows"]
    assert seen.end == End(momentum.named["overflows"].run_id, 0, True, "W.1")
    assert seen.steps == [0], "the step before whose update the run went, and nothing after"
    start = momentum.program.starts.stack([momentum.named["overflows"]])
    for name, value in seen.params.items():
        np.testing.assert_array_equal(value, start[name][0])


def test_nothing_is_recorded_after_divergence(momentum: Lanes):
    seen = momentum.train(["plain", "grows"])["grows"]
    assert seen.end is not None
    assert seen.end.diverged
    assert seen.end.matrix in parameter_shapes(momentum.bucket.spec)
    assert 0 < seen.end.step < 40
    assert seen.steps == list(range(seen.end.step + 1))
    losses = seen.metrics["train/loss"]
    assert all(np.isfinite(value) for value in losses[:-1])  # the last one may be what is not finite
    assert all(np.isfinite(value).all() for value in seen.params.values())


def test_a_shorter_run_is_the_start_of_a_longer_one(momentum: Lanes):
    found = momentum.train(["plain", "long", "short", "shortest"])
    for name, steps in {"plain": 40, "short": 23, "shortest": 1}.items():
        assert found[name].steps == list(range(steps + 1))
        for metric in ("train/loss", "train/loss_max", "norm/total", "grad_norm/W.0"):
            longer = found["long"].metrics[metric][:steps]
            assert found[name].metrics[metric][:steps] == longer, metric
        end = found[name].curve("norm/total")[steps]
        # the record at the end is another program's, so its last bits may differ
        assert end == pytest.approx(found["long"].curve("norm/total")[steps], rel=1e-6)


# --- records --------------------------------------------------------------------------------------------------

SPIKY = MLP | {"optimizer": {"name": "sgd", "lr": 4.0, "momentum": 0.5}}


def observed(folder: Path, log: dict[str, int], steps: int) -> Seen:
    lanes = Lanes.of(plan_of(folder, SPIKY, {"a": {"train.steps": steps}}, log=log, engine={"lanes": 4}))
    return lanes.train(["a"])["a"]


def test_train_loss_max_covers_every_step_whatever_is_recorded(tmp_path: Path):
    every = observed(tmp_path / "every", {"every": 1, "eval_every": 14}, 40)
    sparse = observed(tmp_path / "sparse", {"every": 7, "eval_every": 14}, 40)
    dense = observed(tmp_path / "dense", {"every": 7, "eval_every": 14, "dense_first": 10}, 40)
    assert every.steps == list(range(41))
    assert sparse.steps == [0, 7, 14, 21, 28, 35, 40]
    assert dense.steps == [*range(10), 14, 21, 28, 35, 40]
    losses = np.array(every.metrics["train/loss"])
    assert max(np.diff(losses)) > 0.1, "the loss must jump, or its maximum tells nothing"
    assert any(losses[before + 1 : t].max() > losses[t] for before, t in itertools.pairwise(sparse.steps))
    assert every.metrics["train/loss_max"] == every.metrics["train/loss"]
    for seen in (sparse, dense):
        windows = zip([-1, *seen.steps[:-1]], seen.steps, strict=True)
        expected = [losses[before + 1 : t + 1].max() for before, t in windows]
        np.testing.assert_allclose(seen.metrics["train/loss_max"], expected, rtol=1e-4)
        np.testing.assert_allclose(seen.metrics["train/loss"], losses[seen.steps], rtol=1e-4)
        assert list(seen.curve("test/loss")) == [0, 14, 28, 40]
        assert list(seen.curve("update_norm/W.0")) == seen.steps[:-1]


def test_a_run_may_end_within_its_dense_start(tmp_path: Path):
    seen = observed(tmp_path, {"every": 7, "eval_every": 14, "dense_first": 100}, 11)
    assert seen.steps == list(range(12))
    assert list(seen.curve("test/loss")) == [0, 11]


# --- stopping early -------------------------------------------------------------------------------------------


def stopping(folder: Path, accuracy: float) -> Plan:
    """Runs that stop after so many steps at this test accuracy, or not; products with 0 are soon right."""
    task, optimizer = MLP["task"] | {"op": "multiply", "train_fraction": 0.5}, MLP["optimizer"] | {"lr": 0.3}
    base = MLP | {"seed": 4, "task": task, "optimizer": optimizer, "train": {"steps": 50}}
    after = {"never": None, "at_once": 0, "three": 3, "twenty": 20, "long_after": 2**40, "wraps": 2**31 - 1}
    arms: dict[str, dict[str, Any]] = {name: {"stop.after_generalization": steps} for name, steps in after.items()}
    arms["held"] = {"stop.after_generalization": 3, "events.hold": 2}
    arms["neighbour"] = {"seed": 1}
    return plan_of(folder, base, arms, log={"every": 2, "eval_every": 4}, events={"generalization": accuracy})


def test_stop_after_generalization_ends_that_many_steps_later_and_changes_nothing_before(tmp_path: Path):
    lanes = Lanes.of(stopping(tmp_path, 1.0))
    names = list(lanes.named)
    free = lanes.train(names)
    assert {seen.end.step for seen in free.values() if seen.end} == {50}
    accuracy = free["never"].curve("test/accuracy")
    # the first evaluation better than the first two, so that something is trained before it
    threshold = next(value for value in accuracy.values() if value > max(list(accuracy.values())[:2]))
    generalized = next(t for t, value in accuracy.items() if value >= threshold)
    good = [t for t, value in accuracy.items() if value >= threshold]
    held = next(t for t in good if t - 4 in good)
    assert 4 < generalized < 30
    found = Lanes(lanes.program, Lanes.of(stopping(tmp_path, threshold)).named).train(names)
    ends = {name: seen.end.step for name, seen in found.items() if seen.end}
    assert ends["never"] == ends["long_after"] == ends["wraps"] == ends["neighbour"] == 50
    assert ends["at_once"] == generalized
    assert ends["three"] == generalized + 3
    assert ends["twenty"] == generalized + 20
    assert ends["held"] == held + 3
    assert found["neighbour"].bits() == free["neighbour"].bits()
    assert found["never"].bits() == free["never"].bits()
    for name, end in ends.items():
        seen = found[name]
        assert seen.steps == sorted({*range(0, end, 2), end})
        if name != "neighbour":
            kept = len(seen.steps) - 1
            for metric, values in seen.metrics.items():
                assert values[:kept] == free["never"].metrics[metric][:kept], f"{name}: {metric}"


# --- compilations ---------------------------------------------------------------------------------------------


def train_all(plan: Plan) -> list[list[str]]:
    """What each chunk compiled, of a plan of one bucket cut into chunks of its width."""
    (bucket,) = plan.buckets
    program, found = Program(bucket, plan.device.count), []
    for begin in range(0, len(bucket.runs), bucket.width):
        chunk = Chunk(0, bucket, bucket.runs[begin : begin + bucket.width])
        with compilations() as seen:
            assert train_chunk(program, chunk, Memory(), lambda: False)
        found.append(seen)
    return found


def test_no_second_value_of_a_dynamic_key_compiles_again(eight: Lanes, together: dict[str, Seen]):
    """The first chunk has trained. Then: other values, each by itself, in chunks of other sizes and seeds."""
    names = list(SECOND_VALUES)
    with compilations() as seen:
        for begin, end in itertools.pairwise([0, 8, 11, 12, len(names)]):
            found = eight.train(names[begin:end])
            for name in names[begin:end]:
                if not name.startswith(("stop.", "events.")):  # those wait for a test accuracy
                    assert found[name].metrics != together["seed0"].metrics, name
    assert seen == []


def test_no_second_value_under_momentum_on_a_sphere_compiles_again(tmp_path: Path):
    constraint = {"name": "fixed_norm", "scope": "matrix", "radius": 2.0}
    base = MLP | {"constraint": constraint, "train": {"steps": 6, "batch": 5}}
    changes = {
        "optimizer.momentum": 0.0,
        "optimizer.weight_decay": 0.1,
        "optimizer.lr": 0.2,
        "optimizer.warmup_steps": 3,
        "constraint.radius": 1.0,
        "model.logit_scale": 0.5,
    }
    arms = {f"seed{seed}": {"seed": seed} for seed in range(4)} | {key: {key: value} for key, value in changes.items()}
    arms["start"] = {"constraint.radius": None, "init.scale": 2.0}
    first, *later = train_all(plan_of(tmp_path, base, arms, engine={"lanes": 4}))
    assert first
    assert later == [[] for _ in later]


def test_weights_from_files_of_any_precision_compile_nothing_in_float64(tmp_path: Path):
    base = MLP | {"numerics": {"params": "float64"}, "train": {"steps": 6}}
    random = np.random.Generator(np.random.PCG64(0))
    for stored in ("float32", "float64"):
        shapes = parameter_shapes(plan_of(tmp_path, base, {"a": {}}).buckets[0].spec)
        weights = {name: random.normal(size=shape).astype(stored) for name, shape in shapes.items()}
        save_file(weights, tmp_path / f"{stored}.safetensors")
    arms: dict[str, dict[str, Any]] = {f"seed{seed}": {"seed": seed} for seed in range(4)}
    for stored in ("float32", "float64"):
        for scale in range(4):
            arms[f"{stored}-{scale}"] = {"init.from_file": f"{stored}.safetensors", "init.scale": 1.0 + scale}
    first, *later = train_all(plan_of(tmp_path, base, arms, engine={"lanes": 4}))
    assert first
    assert later == [[], []]


# --- whole sweeps ---------------------------------------------------------------------------------------------


def test_float32_runs_have_the_same_bits_beside_float64_ones(tmp_path: Path):
    def trained(precisions: list[str], out: str):
        sweep = {
            "base": MLP,
            "log": {"every": 10, "eval_every": 20},
            "engine": {"lanes": 4},
            "parameters": {"numerics.params": {"values": precisions}, "seed": {"values": [0, 1]}},
        }
        (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
        return grokjax.run(tmp_path / "sweep.yaml", out=tmp_path / out)

    alone, mixed = trained(["float32"], "alone"), trained(["float64", "float32"], "mixed")
    assert len(alone.run_ids) == 2
    assert len(mixed.run_ids) == 4
    assert alone.curves().equals(mixed.curves(runs=alone.run_ids))
    for run_id in alone.run_ids:
        for name, value in alone.params(run_id).items():
            assert value.dtype == np.float32
            assert value.tobytes() == mixed.params(run_id)[name].tobytes()
    for run_id in set(mixed.run_ids) - set(alone.run_ids):
        assert all(value.dtype == np.float64 for value in mixed.params(run_id).values())


def test_a_padded_last_chunk_adds_no_rows(tmp_path: Path):
    sweep = {
        "base": MLP | {"train": {"steps": 12}},
        "log": {"every": 5, "eval_every": 10},
        "engine": {"lanes": 4},
        "parameters": {"seed": {"min": 0, "max": 4}},
    }
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    results = grokjax.run(tmp_path / "sweep.yaml", out=tmp_path / "out")
    curves = results.curves(["train/loss"])
    assert list(curves["run_id"].unique()) == results.run_ids
    assert len(results.run_ids) == 5
    assert list(curves["step"]) == [0, 5, 10, 12] * 5
    assert (results.runs()["status"] == "ended").all()


@pytest.mark.parametrize("rows", [[3], [0, 5, 7], [6, 1, 2, 4, 0]])
def test_states_of_some_lanes_are_gathered_on_an_accelerator_as_they_are_on_a_cpu(
    eight: Lanes, monkeypatch: pytest.MonkeyPatch, rows: list[int]
):
    chunk = Chunk(0, eight.bucket, tuple(eight.named[name] for name in EIGHT))
    with eight.program.precision():
        board, queue, _ = begin_chunk(eight.program, chunk)
        state = eight.program.refill(board, queue).state
        here = flatten(state, np.array(rows))
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        there = flatten(state, np.array(rows))
    assert list(here) == list(there)
    assert here["params/W_E"].shape[0] == len(rows)
    assert all(here[name].tobytes() == there[name].tobytes() for name in here)
