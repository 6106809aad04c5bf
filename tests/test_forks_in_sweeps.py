"""Sweeps whose runs start from stored ones: what is asked for, inherited, refused, and what is one run with what."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.spec.families import validate
from grokjax.spec.identity import program_key, run_id, steps_apart
from grokjax.spec.origin import Origin
from grokjax.spec.run import FromRun, RunSpec
from grokjax.spec.walk import plain
from grokjax.sweep import expand as expansion
from grokjax.sweep.expand import expand, load_sweep
from grokjax.sweep.keys import FROM_RUN
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.parents import Answer, Parent, ParentError, event_of
from grokjax.sweep.settings import parse_overrides
from grokjax.tasks.examples import split

A, B, C = "a" * 12, "b" * 12, "c" * 12


def stored(**overrides):
    """A resolved spec of 100 steps; dotted keys with `__` for a dot."""
    document = parse_sweep("base: {train: {steps: 100}}\n", "s.yaml", Path("."))
    return expand(document, dotted(overrides)).runs[0].spec


def dotted(overrides):
    return {key.replace("__", "."): value for key, value in overrides.items()}


@dataclass
class Store:
    """Results that are only in memory: every step has a snapshot, slingshots come every 40 steps, to `a` and `b`.
    Snapshots with equal `content` are equal."""

    runs: dict[str, RunSpec]
    content: dict[str, str] = field(default_factory=dict)
    prior_steps: dict[str, int] = field(default_factory=dict)
    asked: list[FromRun] = field(default_factory=list)

    def __call__(self, wanted):
        self.asked.append(wanted)
        if "missing" in wanted.results:
            raise ParentError("results", f"{wanted.results} is no results directory")
        if wanted.run is not None and wanted.run not in self.runs:
            raise ParentError("run", f"no run {wanted.run}; there are {', '.join(self.runs)}")
        names = [name for name in self.runs if self.fits(name, wanted)]
        steps = {name: self.step(name, wanted.step) for name in names}
        late = [name for name, step in steps.items() if step is None]
        notes = (f"{len(late)} of {len(names)} runs left out",) if late else ()
        return Answer(tuple(self.parent(wanted.results, name, step) for name, step in steps.items() if step), notes)

    def fits(self, name, wanted):
        def value(column):
            found = self.runs[name]
            for part in column.split("."):
                found = getattr(found, part)
            return found

        if wanted.run is not None:
            return name == wanted.run
        allowed = {key: any_of if isinstance(any_of, list) else [any_of] for key, any_of in wanted.select.items()}
        return all(value(column) in options for column, options in allowed.items())

    def step(self, name, step):
        last, event = self.runs[name].train.steps, event_of(step)
        if event:
            return 40 * event[1] if name in (A, B) and 40 * event[1] <= last else None
        if step != "final" and step > last:
            raise ParentError("step", f"run {name} has no snapshot at step {step}; it ends at {last}")
        return last if step == "final" else step

    def parent(self, results, name, step):
        digest = hashlib.sha256(f"{self.content.get(name, name)}@{step}".encode()).hexdigest()
        return Parent(results, name, step, self.runs[name], digest, self.prior_steps.get(name, 0), (f"{name}@{step}",))


def store(**change):
    runs = {
        A: stored(seed=3),
        B: stored(seed=4, task__split__method="python", task__split__seed=9, optimizer__weight_decay=0.5),
        C: stored(seed=5, optimizer__weight_decay=0.5),
    }
    return Store(runs, **change)


def sweep(text, find=None, overrides=None, folder=Path("/sweeps")):
    return expand(parse_sweep(text, "s.yaml", folder), overrides, find or store())


def lines(*from_run, rest=""):
    """A sweep file with `from_run` on line 3 and its keys from line 4 on."""
    return f"base:\n  init:\n    from_run:\n{''.join(f'      {line}{chr(10)}' for line in from_run)}{rest}"


def fork(from_run, rest="", find=None, **overrides):
    """The runs of a sweep that starts from `from_run`."""
    return sweep(f"base: {{init: {{from_run: {from_run}}}}}\n{rest}", find, dotted(overrides)).runs


def starts(runs):
    """(run, step) that each run starts from."""
    origins = [run.spec.init.from_run for run in runs]
    return [(origin.run, origin.step) if origin else None for origin in origins]


def mistakes(text, find=None, overrides=None):
    with pytest.raises(SweepError) as caught:
        sweep(text, find, overrides)
    return [str(mistake).removeprefix("s.yaml:") for mistake in caught.value.mistakes]


ONE = f"{{results: r, run: {A}}}"


# What a run gets from its parent


def test_the_resolved_run_names_its_parent_exactly():
    (run,) = fork(f"{{results: ../r, run: {A}, optimizer: reset}}")
    assert run.spec.init.from_run == FromRun(results="/sweeps/../r", run=A, step=100, optimizer="reset")
    assert run.origin == Origin(store().parent("r", A, 100).digest, 0, (f"{A}@100",))
    assert run.run_id == run_id(run.spec, run.origin)


def test_a_run_that_starts_from_no_other_has_no_origin():
    (run,) = sweep("base: {seed: 1}\n").runs
    assert run.origin is None
    assert run.run_id == run_id(run.spec)


def test_without_its_origin_a_run_that_starts_from_another_has_no_id():
    (run,) = fork(ONE)
    with pytest.raises(ValueError, match=f"starts from {A}"):
        run_id(run.spec)


def test_seed_and_split_are_the_parents_unless_they_are_given():
    (run,) = fork(f"{{results: r, run: {B}}}")
    assert (run.spec.seed, run.spec.task.split.method, run.spec.task.split.seed) == (4, "python", 9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seed": 7}, (7, "python", 9)),
        ({"task__split__seed": 7}, (4, "python", 7)),
        ({"task__split__seed": None}, (4, "python", 4)),
        ({"task__split__method": "numpy"}, (4, "numpy", 9)),
        ({"seed": 7, "task__split__seed": None}, (7, "python", 7)),
    ],
)
def test_what_is_given_of_seed_and_split_is_not_inherited(given, expected):
    (run,) = fork(f"{{results: r, run: {B}}}", **given)
    assert (run.spec.seed, run.spec.task.split.method, run.spec.task.split.seed) == expected


def test_a_seed_on_an_axis_or_in_the_base_is_given():
    runs = fork(f"{{results: r, run: {B}}}", "parameters: {seed: {values: [1, 2]}}\n", train__batch=3)
    assert [(run.spec.seed, run.spec.task.split.seed) for run in runs] == [(1, 9), (2, 9)]
    (run,) = sweep(f"base: {{seed: 6, init: {{from_run: {ONE}}}}}\n").runs
    assert (run.spec.seed, run.spec.task.split.seed) == (6, 3)


def test_a_smaller_train_fraction_is_a_subset_of_the_parents_train_set():
    find = store()
    (run,) = fork(f"{{results: r, run: {B}}}", find=find, task__train_fraction=0.2)
    own, theirs = (split(spec.task, 113**2, spec.task.train_size).train for spec in (run.spec, find.runs[B]))
    assert set(own.tolist()) < set(theirs.tolist())


def test_steps_behind_the_optimizer_add_up_where_it_is_kept():
    find = store(prior_steps={A: 1000})
    assert fork(ONE, find=find)[0].origin.prior_steps == 1100
    assert fork(f"{{results: r, run: {A}, optimizer: reset}}", find=find)[0].origin.prior_steps == 0


def test_events_in_steps_are_read():
    assert event_of("before slingshot:12") == ("slingshot", 12)
    assert event_of("before loss_of_generalization:1") == ("loss_of_generalization", 1)
    assert event_of("final") is event_of(40) is None


# How it can be written

FORMS = {
    "nested": (f"base: {{init: {{from_run: {{results: r, run: {A}}}}}}}", [(A, 100)]),
    "dotted": (f"base: {{init.from_run.results: r, init.from_run.run: {A}, init.from_run.step: 4e1}}", [(A, 40)]),
    "half dotted": (f"base: {{init: {{from_run.results: r, from_run: {{run: {A}}}}}}}", [(A, 100)]),
    "event": (f"base: {{init.from_run: {{results: r, run: {A}, step: before slingshot:2}}}}", [(A, 80)]),
    "axis of runs": (
        f"base: {{init.from_run.results: r}}\nparameters: {{init.from_run.run: {{values: [{B}, {A}]}}}}",
        [(B, 100), (A, 100)],
    ),
    "axis of steps": (
        f"base: {{init.from_run: {ONE}}}\nparameters: {{init.from_run.step: {{values: [50, final, 10]}}}}",
        [(A, 50), (A, 100), (A, 10)],
    ),
    "range of steps": (
        f"base: {{init.from_run: {ONE}}}\nparameters: {{init.from_run.step: {{min: 1, max: 3}}}}",
        [(A, 1), (A, 2), (A, 3)],
    ),
    "axis of mappings": (
        f"parameters: {{init.from_run: {{values: [{ONE}, {{results: r, run: {B}, step: 7}}]}}}}",
        [(A, 100), (B, 7)],
    ),
    "one mapping": (f"parameters: {{init.from_run: {{value: {ONE}}}}}", [(A, 100)]),
    "mappings over a base": (
        f"base: {{init.from_run: {{results: r, step: 9}}}}\n"
        f"parameters: {{init.from_run: {{values: [{{run: {A}}}, {{run: {B}, step: 8}}]}}}}",
        [(A, 9), (B, 8)],
    ),
    "null beside a mapping": (f"parameters: {{init.from_run: {{values: [null, {ONE}]}}}}", [None, (A, 100)]),
    "mappings by steps": (
        f"parameters: {{init.from_run: {{values: [null, {ONE}]}}, init.from_run.step: {{values: [5, 6]}}}}",
        [None, (A, 5), (A, 6)],
    ),
    "nested parameters": (
        f"parameters: {{init: {{parameters: {{from_run: {{parameters: {{results: {{value: r}}, "
        f"run: {{values: [{A}, {B}]}}}}}}}}}}}}",
        [(A, 100), (B, 100)],
    ),
    "zip": (
        f"base: {{init.from_run.results: r}}\nzip: [{{init.from_run.run: [{A}, {B}], init.from_run.step: [5, 6]}}]",
        [(A, 5), (B, 6)],
    ),
    "zip of mappings": (
        f"zip: [{{init.from_run: [{ONE}, {{results: r, run: {B}}}], init.scale: [1, 2]}}]",
        [(A, 100), (B, 100)],
    ),
    "select": ("base: {init.from_run: {results: r, select: {optimizer.weight_decay: 0.5}}}", [(B, 100), (C, 100)]),
    "select dotted": ("base: {init.from_run.results: r, init.from_run.select: {seed: [5, 3]}}", [(A, 100), (C, 100)]),
    "select all": ("base: {init.from_run: {results: r, select: {}, step: 2}}", [(A, 2), (B, 2), (C, 2)]),
    "axis of selects": (
        "base: {init.from_run.results: r}\nparameters: {init.from_run.select: "
        "{values: [{seed: 5}, {optimizer.weight_decay: 1, optimizer.name: adamw}]}}",
        [(C, 100), (A, 100)],
    ),
    "run in place of select": (
        "base: {init.from_run: {results: r, select: {seed: 5}}}\n"
        f"arms: {{a: {{base: {{init.from_run.run: {A}}}}}, b: {{}}}}",
        [(A, 100), (C, 100)],
    ),
    "null run beside select": ("base: {init.from_run: {results: r, run: null, select: {seed: 5}}}", [(C, 100)]),
    "null takes back": (
        f"base: {{init: {{from_run: {ONE}}}}}\nparameters: {{init.from_run.step: {{values: [5, 6]}}}}\n"
        "arms: {a: {}, b: {base: {init: {from_run: null}}}}",
        [(A, 5), (A, 6), None],
    ),
    "an arm's base in place of an axis": (
        f"parameters: {{init.from_run: {{values: [{ONE}, {{results: r, run: {B}}}]}}}}\n"
        f"arms: {{a: {{}}, b: {{base: {{init: {{from_run: {{results: r, run: {C}, step: 3}}}}}}}}}}",
        [(A, 100), (B, 100), (C, 3)],
    ),
    "an arm's axis in place of the runs of an axis": (
        f"parameters: {{init.from_run: {{values: [{ONE}, {{results: r, run: {B}}}]}}}}\n"
        f"arms: {{a: {{parameters: {{init.from_run.run: {{values: [{C}]}}}}}}}}",
        [(C, 100)],
    ),
}


@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS)
def test_every_form_means_the_same(text, expected):
    runs = sweep(text + "\n").runs
    assert starts(runs) == expected
    assert {origin.results for run in runs if (origin := run.spec.init.from_run)} == {"/sweeps/r"}


def test_a_random_sweep_draws_what_it_starts_from():
    text = (
        f"base: {{init.from_run.results: r}}\nmethod: random\nrun_cap: 30\n"
        f"parameters: {{init.from_run.run: {{values: [{A}, {B}]}}, init.from_run.step: {{min: 1, max: 50}}}}\n"
    )
    made = starts(sweep(text).runs)
    assert {run for run, _ in made} == {A, B}
    assert len({step for _, step in made}) > 10


def test_a_random_sweep_makes_a_run_of_each_selected_one_in_every_draw():
    rest = "method: random\nrun_cap: 3\nparameters: {optimizer.lr: {min: 0.1, max: 0.9}}\n"
    runs = fork("{results: r, select: {}}", rest)
    assert [run for run, _ in starts(runs)] == [A, B, C] * 3
    assert len({run.spec.optimizer.lr for run in runs}) == 3


# --set

SETTINGS = [
    (["init.from_run.step=50"], [(A, 50)]),
    ([f"init.from_run.run={B}"], [(B, 100)]),
    ([f"init.from_run={{run: {B}, step: before slingshot:1}}"], [(B, 40)]),
    (["init.from_run.select={seed: [4, 5]}"], [(B, 100), (C, 100)]),
    (["init.from_run=null"], [None]),
    (["init={from_run: {step: 2}}"], [(A, 2)]),
]


@pytest.mark.parametrize(("pairs", "expected"), SETTINGS, ids=[pairs[0] for pairs, _ in SETTINGS])
def test_settings_win_over_what_the_file_starts_from(pairs, expected):
    base = f"base: {{init: {{from_run: {ONE}}}}}\n"
    swept = f"base: {{init.from_run.results: r}}\nparameters: {{init.from_run.run: {{values: [{A}]}}}}\n"
    mapped = f"parameters: {{init.from_run: {{values: [{{results: r, run: {A}, step: final}}]}}}}\n"
    for text in (base, swept, mapped):
        assert starts(sweep(text, overrides=parse_overrides(pairs)).runs) == expected


def test_a_setting_of_a_swept_key_takes_it_out_of_mappings():
    text = f"parameters: {{init.from_run: {{values: [{ONE}, {{results: q, run: {B}}}]}}}}\n"
    assert starts(sweep(text, overrides={"init.from_run.step": 5}).runs) == [(A, 5), (B, 5)]
    fixed = sweep(text, overrides={"init.from_run.run": C}).runs
    assert starts(fixed) == [(C, 100)]  # of two directories the one run, which is equal
    assert starts(sweep(text, overrides={"init.from_run": None}).runs) == [None]


def test_a_setting_fixes_the_step_in_the_arms_that_start_from_another_run():
    text = f"arms: {{a: {{}}, b: {{base: {{init: {{from_run: {ONE}}}}}}}}}\n"
    assert starts(sweep(text, overrides={"init.from_run.step": 7}).runs) == [None, (A, 7)]
    taken_back = f"base: {{init.from_run: {ONE}}}\narms: {{a: {{base: {{init.from_run: null}}}}, b: {{}}}}\n"
    assert starts(sweep(taken_back, overrides={"init.from_run.step": 7}).runs) == [None, (A, 7)]
    whole = {"init.from_run": {"results": "q", "run": C}}
    assert starts(sweep(taken_back, overrides=whole).runs) == [(C, 100)]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("init.from_run.step=5", "init.from_run.step: no run starts from another: init.from_run needs results"),
        (f"init.from_run.run={A}", "init.from_run.run: no run starts from another: init.from_run needs results"),
        ("init.from_run.stp=5", "init.from_run.stp: unknown key: init.from_run has no stp (did you mean step?)"),
        ("init.from_run=5", "init.from_run: wrong type: expected a mapping, got 5"),
        ("init.from_run={}", "init.from_run.results: is missing: init.from_run needs results, a directory, and run"),
        ("init.from_run={results: r, run: null}", "init.from_run.results: no run starts from another: init.from_run"),
        (f"init.from_run={{results: missing, run: {A}}}", f"init.from_run.results: {Path('missing').absolute()} is no"),
        (f"init.from_run={{results: r, run: {A}, step: 101}}", f"init.from_run.step: run {A} has no snapshot at"),
    ],
)
def test_a_bad_setting_is_refused_with_its_key(pair, expected):
    (message,) = mistakes("name: x\n", overrides=parse_overrides([pair]))
    assert message.startswith(f"--set: {expected}"), message


def test_results_are_found_beside_the_sweep_and_from_settings_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "sweeps" / "s.yaml"
    path.write_text(f"base: {{init: {{from_run: {ONE}}}}}\n")
    assert load_sweep(path, find_parents=store()).runs[0].spec.init.from_run.results == str(tmp_path / "sweeps" / "r")
    fixed = load_sweep(path, {"init.from_run.results": Path("r")}, store())
    assert fixed.runs[0].spec.init.from_run.results == str(tmp_path / "here" / "r")


# One child for each selected run


def test_each_point_of_a_grid_has_its_children_in_the_order_of_the_parents():
    runs = fork("{results: r, select: {optimizer.weight_decay: 0.5}}", "parameters: {optimizer.lr: {values: [1, 2]}}\n")
    made = [(run.spec.optimizer.lr, run.spec.init.from_run.run, run.spec.seed) for run in runs]
    assert made == [(1.0, B, 4), (1.0, C, 5), (2.0, B, 4), (2.0, C, 5)]


def test_the_request_reaches_the_finder_as_it_was_written():
    find = store()
    text = "{results: r, select: {optimizer.weight_decay: [0.5, 1], seed: 4, loss.name: cross_entropy}, step: 8}"
    assert len(fork(text, find=find)) == 1
    select = {"optimizer.weight_decay": [0.5, 1], "seed": 4, "loss.name": "cross_entropy"}
    assert find.asked == [FromRun(results="/sweeps/r", select=select, step=8)]


def test_notes_of_the_finder_are_warnings_of_the_sweep():
    made = sweep("base: {init.from_run: {results: r, select: {}, step: before slingshot:1}}\n")
    assert starts(made.runs) == [(A, 40), (B, 40)]
    assert made.warnings == ("1 of 3 runs left out",)
    made = sweep("arms: {x: {base: {init.from_run: {results: r, select: {}, step: before slingshot:1}}}}\n")
    assert made.warnings == ("x: 1 of 3 runs left out",)


def test_a_selection_of_nothing_is_refused():
    text = lines("results: r", "select: {seed: 99}")
    assert mistakes(text) == ["5:7: init.from_run.select: no run to start from"]
    text = lines("results: r", "select: {seed: 5}", "step: before slingshot:1")
    assert mistakes(text) == ["6:7: init.from_run.step: no run to start from; 1 of 1 runs left out"]


def test_too_many_children_are_refused(monkeypatch):
    monkeypatch.setattr(expansion, "MAX_RUNS", 5)
    rest = "parameters: {optimizer.lr: {values: [1, 2]}}\n"
    assert len(fork("{results: r, select: {seed: [3, 4]}}", rest)) == 4
    with pytest.raises(SweepError, match=r"s\.yaml:1:\d+: init.from_run.select: more than 5 runs in arm main"):
        fork("{results: r, select: {}}", rest)


def test_the_finder_is_asked_once_for_each_distinct_request():
    find = store()
    arms = "arms: {one: {}, two: {base: {optimizer.lr: 5}}, three: {base: {init.from_run.step: 50}}}\n"
    runs = fork(ONE, "parameters: {optimizer.weight_decay: {values: [0.1, 0.2, 0.3]}}\n" + arms, find)
    assert len(runs) == 9
    assert [wanted.step for wanted in find.asked] == ["final", 50]
    find.asked.clear()
    with pytest.raises(SweepError):
        fork("{results: missing, select: {}}", "parameters: {optimizer.lr: {values: [1, 2]}}\n", find)
    assert len(find.asked) == 1


def test_the_keys_that_vary_are_those_that_the_runs_have():
    def axes(from_run, parameters="{}"):
        text = f"base: {{init.from_run: {from_run}}}\nparameters: {parameters}\n"
        return sweep(text).axes["main"]

    every = "{results: r, select: {}}"
    assert axes(ONE) == ()
    assert axes(every) == ("init.from_run.run",)
    assert axes(every, "{optimizer.lr: {values: [1, 2]}}") == ("optimizer.lr", "init.from_run.run")
    assert axes(ONE, "{init.from_run.step: {values: [1, 2]}}") == ("init.from_run.step",)
    assert axes("null", f"{{init.from_run: {{values: [null, {ONE}]}}}}") == ("init.from_run.run",)
    assert axes(ONE, "{init.from_run: {values: [{step: 1}, {step: 2}]}}") == ("init.from_run.step",)
    selects = "{init.from_run.select: {values: [{seed: 3}, {seed: 4}]}}"
    assert axes("{results: r}", selects) == ("init.from_run.run",)


# Which runs are one


def test_a_parent_counts_by_content_and_not_by_where_it_is():
    here, there = fork(ONE)[0], fork(f"{{results: elsewhere/q, run: {B}}}", find=store(content={B: A}), seed=3)[0]
    assert here.run_id != there.run_id  # another split
    there = fork(f"{{results: elsewhere/q, run: {A}}}", find=store())[0]
    assert (here.run_id, here.spec.init) != (there.run_id, there.spec.init)
    assert here.run_id == there.run_id
    renamed = Store({C: store().runs[A]}, content={C: A})
    assert fork(f"{{results: q, run: {C}}}", find=renamed)[0].run_id == here.run_id


def test_another_snapshot_step_or_optimizer_is_another_run():
    ids = {
        fork(ONE)[0].run_id,
        fork(f"{{results: r, run: {A}, step: 50}}")[0].run_id,
        fork(f"{{results: r, run: {A}, optimizer: reset}}")[0].run_id,
        fork(ONE, find=store(content={A: "other"}))[0].run_id,
        fork(ONE, init__scale=2)[0].run_id,
        fork("null", seed=3)[0].run_id,
    }
    assert len(ids) == 6


def test_steps_behind_the_optimizer_count_where_it_is_kept():
    reset = f"{{results: r, run: {A}, optimizer: reset}}"
    later = store(prior_steps={A: 7})
    assert fork(ONE)[0].run_id != fork(ONE, find=later)[0].run_id
    assert fork(reset)[0].run_id == fork(reset, find=later)[0].run_id


def test_what_is_overwritten_by_the_parent_does_not_count():
    base = fork(ONE)[0].run_id
    assert fork(ONE, seed=8)[0].run_id == base  # the split is still the parent's
    assert fork(ONE, init__scheme="fan_in")[0].run_id == base
    assert fork(ONE, task__split__seed=8)[0].run_id != base
    batches = {fork(ONE, seed=seed, train__batch=3)[0].run_id for seed in (3, 8)}
    assert len(batches) == 2
    assert fork(ONE, init__scale_by_matrix__b_in=3)[0].run_id != base  # a stored bias is not zero
    fixed = {"constraint.name": "fixed_norm", "constraint.radius": 2}
    assert fork(ONE, **fixed)[0].run_id == fork(ONE, **fixed, init__scale=3)[0].run_id


def test_the_log_does_not_count():
    assert fork(ONE)[0].run_id == fork(ONE, log__snapshot_steps="log:7", log__snapshot_every=5)[0].run_id


def test_the_ids_of_runs_without_a_parent_are_what_they_were():
    assert sweep("base: {seed: 1}\n").runs[0].run_id == "b9766db8b9aa"
    assert program_key(stored()) == "408462cf9b41"


def test_equal_children_are_one_run():
    find = Store({A: store().runs[A], B: store().runs[A]}, content={B: A})
    assert starts(fork("{results: r, select: {}}", find=find)) == [(A, 100)]
    arms = sweep(
        f"arms: {{x: {{base: {{init.from_run: {ONE}}}}}, "
        f"y: {{base: {{init.from_run: {{results: q, select: {{seed: 3}}}}}}}}}}\n"
    ).runs
    assert [run.arms for run in arms] == [("x", "y")]


def test_runs_that_differ_in_steps_alone_are_the_same_apart_from_steps():
    short, long, other = fork(ONE)[0], fork(ONE, train__steps=500)[0], fork(ONE, optimizer__lr=0.5)[0]
    apart = [steps_apart(run.spec, run.origin) for run in (short, long, other)]
    assert apart[0] == apart[1] != apart[2]
    assert short.run_id != long.run_id
    assert steps_apart(stored()) == steps_apart(stored(train__steps=7)) != steps_apart(stored(seed=1))


def test_keeping_the_optimizer_is_another_program_and_nothing_else_of_the_start_is():
    keep, reset = fork(ONE)[0].spec, fork(f"{{results: r, run: {A}, optimizer: reset}}")[0].spec
    assert program_key(reset) == program_key(stored()) != program_key(keep)
    assert program_key(keep) == program_key(fork(f"{{results: q, run: {B}, step: 4}}")[0].spec)
    logged = fork(ONE, log__snapshot_steps="log:5", log__snapshot_every=3)[0].spec
    assert program_key(logged) == program_key(keep)


def test_a_resolved_run_survives_being_written_down():
    spec = fork("{results: r, select: {seed: 3}, step: 50}", log__snapshot_steps="log:10000")[0].spec
    assert validate(json.loads(json.dumps(plain(spec)))) == spec
    assert validate(plain(spec)) == spec


# What is refused


BAD = {
    "neither": (lines("results: r"), ["3:5: init.from_run: needs `run`, the run_id of the run to start from, or"]),
    "both": (
        lines("results: r", f"run: {A}", "select: {seed: 3}"),
        ["6:7: init.from_run.select: run is given too: write run for one run, or select for several"],
    ),
    "no results": (lines(f"run: {A}"), ["3:5: init.from_run.results: is missing: init.from_run needs results, a di"]),
    "no results in a value": (
        f"parameters:\n  init.from_run:\n    values:\n      - {ONE}\n      - run: {A}\n",
        ["5:9: init.from_run.results: is missing: init.from_run needs results"],
    ),
    "unknown key": (
        lines("results: r", f"run_id: {A}", "stpe: 5"),
        [
            "5:7: init.from_run.run_id: unknown key: init.from_run has no run_id (did you mean run?)",
            "6:7: init.from_run.stpe: unknown key: init.from_run has no stpe (did you mean step?)",
        ],
    ),
    "unknown key in a value": (
        f"parameters:\n  init.from_run:\n    values: [{{results: r, runs: {A}}}]\n",
        ["3:27: init.from_run.runs: unknown key: init.from_run has no runs (did you mean run?)"],
    ),
    "below a value": (
        lines("results: r", f"run: {{id: {A}}}"),
        ["5:13: init.from_run.run.id: unknown key: init.from_run.run is a single value, it has no key id"],
    ),
    "below select": (
        lines("results: r", "select.seed: 3"),
        ["5:7: init.from_run.select.seed: unknown key: init.from_run.select is one value, a mapping: write init.fr"],
    ),
    "types": (
        lines("results: [r]", "run: [a]", "step: [1]", "optimizer: 5", "select: 5"),
        [
            "4:7: init.from_run.results: wrong type: expected text, got ['r'] (a list)",
            "5:7: init.from_run.run: must be 12 hex digits, the run_id of a run of these results, got ['a'] (a list)",
            "6:7: init.from_run.step: must be final, a step from 1 on, or `before KIND:N` with KIND one of fit, gen",
            "7:7: init.from_run.optimizer: must be one of keep, reset, got 5",
            "8:7: init.from_run.select: wrong type: expected a mapping, got 5",
        ],
    ),
    "number as run": (
        lines("results: r", "run: 123456789012"),
        ["5:7: init.from_run.run: must be 12 hex digits, .*; YAML reads such an id as a number: write it in quotes"],
    ),
    "upper case": (lines("results: r", f"run: {'A' * 12}"), ["5:7: init.from_run.run: must be 12 hex digits"]),
    "optimizer": (
        lines("results: r", f"run: {A}", "optimizer: rest"),
        ["6:7: init.from_run.optimizer: must be one of keep, reset, got 'rest' (text) (did you mean reset?)"],
    ),
    "select of mappings": (
        lines("results: r", "select: {optimizer: {weight_decay: 1.0}, seed: [1, [2]], task.p: []}"),
        [
            "5:16: init.from_run.select.optimizer: must be null, .*; a column is written with dots, for instance opt",
            "5:48: init.from_run.select.seed: must be null, true or false, a finite number or text, or a list of su",
            "5:64: init.from_run.select.task.p: must be null",
        ],
    ),
    "file and run": (
        f"base:\n  init:\n    from_file: {__file__}\n    from_run: {ONE}\n",
        ["4:5: init.from_run: from_file is given too, and a run has one start: leave one out", "3:5: init.from_file"],
    ),
    "null in results": (
        lines(r'results: "a\0b"', f"run: {A}"),
        [r"4:7: init.from_run.results: 'a\x00b' cannot be read: embedded null byte"],
    ),
    "twice": (
        f"base:\n  init:\n    from_run: {ONE}\n  init.from_run: null\n",
        ["4:3: init.from_run: duplicate key: it stands twice, as a whole and by its keys"],
    ),
    "swept twice": (
        f"parameters:\n  init.from_run.run: {{values: [{A}]}}\n  init.from_run: {{values: [{ONE}]}}\n",
        ["3:3: init.from_run.run: swept twice: by itself and in an axis of init.from_run"],
    ),
    "no mapping": ("base: {init: {from_run: r}}\n", ["1:15: init.from_run: wrong type: expected a mapping, got 'r'"]),
    "a list": ("base: {init: {from_run: [1]}}\n", ["1:15: init.from_run: wrong type: expected a mapping, got [1]"]),
    "empty": ("base: {init: {from_run: {}}}\n", ["1:15: init.from_run.results: is missing: init.from_run needs"]),
    "log": (
        "log:\n  snapshot_steps: log:0\n",
        ["2:3: log.snapshot_steps: must be null or log:N with N a whole number from 1 to 10000, got 'log:0' (text)"],
    ),
    "log as a number": (
        "log:\n  snapshot_steps: 100\n",
        ["2:3: log.snapshot_steps: .* got 100 (did you mean log:100?)"],
    ),
    "not found": (
        lines("results: missing", f"run: {A}"),
        ["4:7: init.from_run.results: /sweeps/missing is no results directory"],
    ),
    "no such run": (lines("results: r", "run: 0123456789ab"), ["5:7: init.from_run.run: no run 0123456789ab; there"]),
    "no such step": (
        lines("results: r", f"run: {A}", "step: 101"),
        [f"6:7: init.from_run.step: run {A} has no snapshot at step 101; it ends at 100"],
    ),
    "no such steps of an axis": (
        lines("results: r", f"run: {A}", rest="parameters:\n  init.from_run.step: {values: [101, 102]}\n"),
        ["7:33: init.from_run.step: run", "7:38: init.from_run.step: run"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_at_its_place(text, expected):
    found = mistakes(text)
    assert len(found) == len(expected), found
    for wanted in expected:
        parts = ".*".join(re.escape(part) for part in wanted.split(".*"))
        assert any(re.match(parts, message) for message in found), (wanted, found)


STEPS = {
    "0": "",
    "-1": "",
    "1.5": "",
    "true": "",
    "null": "",
    "last": "",
    "finale": " (did you mean final?)",
    "before slingshot": " (did you mean before slingshot:1?)",
    "slingshot:1": " (did you mean before slingshot:1?)",
    "before fit": " (did you mean before fit:1?)",
    "before  fit:2": " (did you mean before fit:2?)",
    "before slingshots:1": " (did you mean slingshot?)",
    "before slingshot:0": " (did you mean slingshot?)",
    "after fit:1": "",
    "'50'": "; write it without quotes: 50",
}


@pytest.mark.parametrize(("step", "hint"), STEPS.items())
def test_a_bad_step_is_refused_with_what_it_may_be(step, hint):
    (message,) = mistakes(lines("results: r", f"run: {A}", f"step: {step}"))
    assert message.startswith("6:7: init.from_run.step: must be final, a step from 1 on, or `before KIND:N`")
    assert message.endswith(hint) if hint else "did you mean" not in message


def test_without_a_way_to_look_runs_up_a_sweep_that_needs_one_is_refused():
    with pytest.raises(SweepError, match=r"s\.yaml:4:7: init.from_run.results: a stored run cannot be looked up here"):
        expand(parse_sweep(lines("results: r", f"run: {A}"), "s.yaml", Path(".")))


def test_a_parent_with_other_parameters_is_refused():
    find = store()
    find.runs[B], find.runs[C] = stored(model__layernorm="pre"), stored(model__d_mlp=7)
    assert mistakes(lines("results: r", f"run: {B}"), find) == [
        f"5:7: init.from_run.run: run {B} does not fit: has ln1_w.0, which this model has not; has ln1_b.0, which this "
        "model has not; has ln2_w.0, which this model has not; has ln2_b.0, which this model has not; and 2 more"
    ]
    (message,) = mistakes(lines("results: r", "select: {}"), find)
    assert message.startswith(f"5:7: init.from_run.select: run {B} does not fit: has ln1_w.0, which this model has not")
    assert message.endswith(" (and 1 more)")
    (message,) = mistakes(lines("results: r", "select: {task.p: 113, model.d_mlp: 7}"), find)
    assert "has W_in.0 of shape [128, 7], this model needs [128, 512]" in message


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("adam", "adamw", True),
        ("adamw", "adam", True),
        ("sgd", "sgd", True),
        ("sgd", "adamw", False),
        ("adamw", "sgd", False),
        ("adam", "sgd", False),
    ],
)
def test_an_optimizer_goes_on_with_moments_of_its_own_kind_only(theirs, ours, fits):
    find = Store({A: stored(optimizer__name=theirs)})
    text = f"base:\n  optimizer: {{name: {ours}}}\n  init.from_run: {ONE}\n"
    assert len(sweep(text, find, {"init.from_run.optimizer": "reset"}).runs) == 1
    if fits:
        assert len(sweep(text, find).runs) == 1
        return
    what = f"{ours} cannot go on with the moments of {theirs} of run {A}; write optimizer: reset"
    assert mistakes(text, find) == [f"2:15: init.from_run.optimizer: {what}"]
    text = lines("results: r", f"run: {A}", "optimizer: keep", rest=f"  optimizer.name: {ours}\n")
    assert mistakes(text, find) == [f"6:7: init.from_run.optimizer: {what}"]


def test_mistakes_of_the_parent_and_of_the_rest_are_told_together():
    text = f"base:\n  optimizer.lr: fast\n  init.from_run.results: missing\n  init.from_run.run: {A}\n"
    assert [message.split(" ")[1] for message in mistakes(text)] == ["optimizer.lr:", "init.from_run.results:"]


USELESS = {
    f"init.from_run.run: {{values: [{A}, {B}, {C}]}}": f"4:46: init.from_run.run: the values '{A}' and '{B}' give the",
    f"init.from_run: {{values: [{ONE}, {{run: {C}}}, {{results: q, run: {A}}}]}}": (
        f"4:82: init.from_run: the values {{results: 'r', run: '{A}'}} and {{results: 'q', run: '{A}'}} give the"
    ),
    "init.from_run.results: {values: [r, q]}": "4:3: init.from_run.results: an axis without effect: all 2 values give",
    "init.from_run.step: {values: [100, final, 7]}": "4:38: init.from_run.step: the values 100 and 'final' give the sa",
    "seed: {min: 0, max: 2}": "4:3: seed: an axis without effect: all 3 values give the same runs; a run that starts",
    "init.scheme: {values: [fan_in, torch_linear]}": "4:3: init.scheme: an axis without effect: all 2 values give the",
}


@pytest.mark.parametrize(("axis", "expected"), USELESS.items(), ids=list(USELESS.values()))
def test_an_axis_must_change_some_run(axis, expected):
    find = store()
    find.runs[B], find.content[B] = find.runs[A], A
    (message,) = mistakes(f"base:\n  init.from_run: {ONE}\nparameters:\n  {axis}\n", find)
    assert message.startswith(expected), message


def test_an_axis_without_effect_on_selected_runs_is_refused_and_one_with_effect_is_not():
    text = "{results: r, select: {}}"
    with pytest.raises(SweepError, match="an axis without effect"):
        fork(text, "parameters: {init.scheme: {values: [fan_in, torch_linear]}}\n")
    with pytest.raises(SweepError, match="an axis without effect"):
        fork(text, "method: random\nrun_cap: 4\nparameters: {init.scheme: {values: [fan_in, torch_linear]}}\n")
    assert len(fork(text, "parameters: {init.from_run.optimizer: {values: [keep, reset]}}\n")) == 6


def test_scaled_parameters_with_kept_moments_are_remarked_upon():
    def notes(**overrides):
        return sweep(f"base: {{init: {{from_run: {ONE}}}}}\n", overrides=dotted(overrides)).warnings

    assert notes() == ()
    assert "the moments that go on are not" in notes(init__scale=2)[0]
    assert "the moments that go on are not" in notes(**{"init.scale_by_matrix.W_E": 2})[0]
    assert notes(init__scale=2, init__from_run__optimizer="reset") == ()


# Anything at all

SCALARS = st.one_of(
    st.sampled_from(
        [None, True, "final", "keep", "reset", "r", "missing", A, B, "before slingshot:1", "log:9", {}, []]
    ),
    st.integers(-2, 120),
    st.floats(),
    st.text(max_size=8),
)
WORDS = st.sampled_from(["results", "run", "select", "step", "optimizer", "seed", "x", "select.seed", ""])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4))
KEYS = st.sampled_from([FROM_RUN, *(f"{FROM_RUN}.{word}" for word in FromRun.model_fields), "init"])


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={"base": VALUES, "arm": VALUES}),
    st.dictionaries(KEYS, VALUES, max_size=3),
    st.dictionaries(KEYS, st.lists(VALUES, min_size=1, max_size=2), max_size=2),
)
def test_whatever_is_written_there_makes_runs_or_mistakes(bases, overrides, axes):
    def base(key):
        return {"init": {"from_run": bases[key]}} if key in bases else {}

    data = {
        "base": base("base"),
        "parameters": {key: {"values": values} for key, values in axes.items()},
        "arms": {"a": {}, "b": {"base": base("arm")}},
    }
    document = parse_sweep("name: x\n", "s.yaml", Path("."))
    try:
        made = expand(replace(document, data=data), overrides, store())
    except SweepError as error:
        places = [(mistake.file, mistake.line) for mistake in error.mistakes]
        assert {("s.yaml", True), ("--set", False)} >= {(file, line > 0) for file, line in places} != set()
        return
    assert made.runs
    assert all((run.origin is None) == (run.spec.init.from_run is None) for run in made.runs)
