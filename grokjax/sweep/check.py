"""What the keys of one run must satisfy together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from grokjax.spec.kernels import kernel_problems
from grokjax.spec.matmuls import ALGORITHMS
from grokjax.spec.models import MODELS
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.run import FromRun, RunSpec
from grokjax.spec.section import Problem
from grokjax.spec.shapes import Shapes, matches, parameter_count, parameter_shapes, trained_shapes
from grokjax.sweep.keys import split_key
from grokjax.sweep.nodes import shown
from grokjax.sweep.parents import Parent
from grokjax.sweep.spelling import did_you_mean
from grokjax.sweep.weights_file import file_shapes

MOST_PARAMETERS = 10**9


class Report(Protocol):
    def __call__(self, key: str, what: str, *related: str) -> None:
        """related: keys that take part, where the mistake stands if `key` itself was not given."""


def check(spec: RunSpec, report: Report, broken: Collection[str] = ()) -> None:
    """Report every contradiction within one run (before `resolve`), but for sections that are `broken`."""

    def whole(*sections: str) -> bool:
        return not any(section in broken for section in sections)

    if whole("task"):
        _tell(spec.task.problems(spec), report)
    if whole("task", "train") and spec.train.batch and 0 < spec.task.train_size < spec.train.batch:
        what = f"{spec.train.batch} is more than the {spec.task.train_size} train examples; null is the full batch"
        report("train.batch", what)
    if whole("task", "model", "init"):
        _tell(spec.model.problems(spec), report)
        _check_scheme(spec, report)
        _check_size(spec, report)
    if whole("task", "model", "init", "optimizer"):
        _check_matrices(spec, report)
    if whole("task", "model", "init") and spec.init.from_file is not None:
        _check_file(spec, spec.init.from_file, report)
    if whole("init") and spec.init.from_run is not None:
        _check_from_run(spec, spec.init.from_run, report)
    if whole("log"):
        _check_log(spec, report)
    if whole("task", "model", "log", "optimizer", "loss"):
        for probe in dict.fromkeys(spec.log.probes):
            if what := probe.refusal(spec):
                report("log.probes", what)
    if whole("numerics"):
        _check_matmul(spec, report)
    if not broken:
        _check_noise(spec, report)
        for family in (spec.loss, spec.optimizer, spec.constraint):
            _tell(family.problems(spec), report)
        _tell(kernel_problems(spec), report)


def _tell(problems: Iterable[Problem], report: Report) -> None:
    for problem in problems:
        report(problem.key, problem.what, *problem.related)


def _check_from_run(spec: RunSpec, wanted: FromRun, report: Report) -> None:
    if spec.init.from_file is not None:
        report("init.from_run", "from_file is given too, and a run has one start: leave one out, or make it null")
    if wanted.run is None and wanted.select is None:
        report("init.from_run", "needs `run`, the run_id of the run to start from, or `select`, for several")
    if wanted.run is not None and wanted.select is not None:
        report("init.from_run.select", "run is given too: write run for one run, or select for several")
    if "\0" in wanted.results:
        report("init.from_run.results", f"{shown(wanted.results)} cannot be read: embedded null byte")


def check_parents(spec: RunSpec, parents: Sequence[Parent], report: Report, broken: Collection[str] = ()) -> None:
    """Report what does not fit the stored runs that a run starts from (before `resolve`)."""
    wanted = spec.init.from_run
    assert wanted is not None
    key = "init.from_run.run" if wanted.select is None else "init.from_run.select"
    if not any(section in broken for section in ("task", "model")):
        shapes = parameter_shapes(spec)
        bad = [(parent, what) for parent in parents if (what := _misfit(parameter_shapes(parent.spec), shapes))]
        for parent, what in bad[:1]:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            report(key, f"run {parent.run_id} does not fit: {what}{more}")
    if "optimizer" not in broken and wanted.optimizer == "keep":
        ours = spec.optimizer
        unlike = [parent for parent in parents if parent.spec.optimizer.state_kind != ours.state_kind]
        for parent in unlike[:1]:
            theirs = f"{parent.spec.optimizer.name} of run {parent.run_id}"
            other = "" if parent.spec.optimizer.name != ours.name else ", whose filters, groups or decay_to are others"
            what = f"{ours.name} cannot go on with the moments of {theirs}{other}; write optimizer: reset"
            report("init.from_run.optimizer", what, "optimizer.name")
        _check_frozen(spec, parents, report, broken)


def _check_frozen(spec: RunSpec, parents: Sequence[Parent], report: Report, broken: Collection[str]) -> None:
    """Moments are of the parameters that are trained, and so is the norm that is held."""
    if any(section in broken for section in ("task", "model", "init")):
        return
    ours = trained_shapes(spec).keys()
    alike = [parent for parent in parents if parameter_shapes(parent.spec) == parameter_shapes(spec)]
    for parent in [parent for parent in alike if trained_shapes(parent.spec).keys() != ours][:1]:
        what = f"run {parent.run_id} trains other matrices, so its moments are of others; write optimizer: reset"
        report("init.frozen", f"{what} (lr_by_matrix 0 holds a matrix too, and keeps its moments)", "init.from_run")


def _check_log(spec: RunSpec, report: Report) -> None:
    if spec.log.eval_every and spec.log.eval_every % spec.log.every:
        what = f"must be a multiple of log.every ({spec.log.every}), got {spec.log.eval_every}"
        report("log.eval_every", f"{what}: test metrics are read at records", "log.every")


def _check_scheme(spec: RunSpec, report: Report) -> None:
    scheme, model = spec.init.scheme, spec.model
    if scheme is not None and scheme not in model.schemes:
        takes = " or ".join(sorted(model.schemes)) or "none: its starting values are its own"
        whose = next(name for name, other in MODELS.items() if scheme in other.schemes)
        report("init.scheme", f"{scheme} is the {whose}'s; an {model.name} takes {takes}")


def _check_noise(spec: RunSpec, report: Report) -> None:
    if spec.noise.labels is not None and spec.task.d_target:
        what = f"labels are replaced by other classes, and the answers of {spec.task.name} are vectors; leave it out"
        report("noise.labels", what)
    if spec.noise.dropout is not None and not spec.model.drops:
        report("noise.dropout", f"{spec.model.name} does not take what is dropped; leave it out")


def _check_matmul(spec: RunSpec, report: Report) -> None:
    numerics = spec.numerics
    if numerics.matmul in ALGORITHMS and numerics.params == "float64":
        what = f"{numerics.matmul} multiplies float32 numbers, and params are float64; highest keeps all their digits"
        report("numerics.matmul", what, "numerics.params")


def _check_size(spec: RunSpec, report: Report) -> None:
    if parameter_count(parameter_shapes(spec)) > MOST_PARAMETERS:
        what = f"more than {MOST_PARAMETERS:,} parameters: a lane would not fit any device"
        report("model", what, *(f"model.{key}" for key in ("widths", "d_model", "d_mlp", "layers", "d_head", "heads")))


def _check_matrices(spec: RunSpec, report: Report) -> None:
    """What is said of single matrices must be said of some that there are."""
    optimizer = spec.optimizer
    tables: dict[str, Collection[str]] = {
        "init.distribution": spec.init.distribution,
        "init.scale_by_matrix": spec.init.scale_by_matrix,
        "optimizer.lr_by_matrix": optimizer.lr_by_matrix,
        "optimizer.weight_decay_by_matrix": optimizer.weight_decay_by_matrix,
        "optimizer.groups": optimizer.groups,
    }
    for key, group in optimizer.groups.items():
        tables[f"optimizer.groups.{key}.lr_by_matrix"] = group.lr_by_matrix
        tables[f"optimizer.groups.{key}.weight_decay_by_matrix"] = group.weight_decay_by_matrix
    if not any(tables.values()) and not spec.init.frozen:
        return
    names = list(parameter_shapes(spec))
    known = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names)) + names
    keys = [(key, f"{table}.{key}") for table, entries in tables.items() for key in entries]
    for key, place in [*keys, *((key, "init.frozen") for key in spec.init.frozen)]:
        if not any(matches(key, name) for name in names):
            what = f"this model has no matrix {shown(key)}{did_you_mean(key, known)}; it has {', '.join(names)}"
            report(place, what)
    shapes = parameter_shapes(spec)
    for key, kind in spec.init.distribution.items():
        if "line" in kind and any(matches(key, name) and len(shape) < 2 for name, shape in shapes.items()):
            report(f"init.distribution.{key}", "a line is of a matrix's rows, and this parameter is a vector")
    if not trained_shapes(spec):
        report("init.frozen", "every parameter is frozen, so nothing is trained; leave some out")
    if optimizer.groups:
        _check_groups(optimizer, names, tables, report)


def _check_groups(
    optimizer: Optimizer, names: list[str], tables: Mapping[str, Collection[str]], report: Report
) -> None:
    """A matrix is in one group at most, and factors stand where they reach a matrix."""
    taken: dict[str, str] = {}
    for key in optimizer.groups:
        for name in filter(partial(matches, key), names):
            if name in taken:
                what = f"{name} is in the group {taken[name]} too: a matrix has one optimizer; name layers one by one"
                report(f"optimizer.groups.{key}", what)
                break
            taken[name] = key
    for table, factors in tables.items():
        words = split_key(table)
        if words[0] != "optimizer" or len(words) not in (2, 4) or words[-1] == "groups":
            continue
        own = words[2] if len(words) == 4 else None
        for key in factors:
            inside = [name for name in names if matches(key, name)]
            if inside and all(taken.get(name) != own for name in inside):
                there = f"optimizer.groups.{taken[inside[0]]}" if inside[0] in taken else "optimizer"
                report(f"{table}.{key}", f"without effect: {key} has its own optimizer, write {there}.{words[-1]}")


def _check_file(spec: RunSpec, path: str, report: Report) -> None:
    shapes = file_shapes(path)
    if isinstance(shapes, str):
        report("init.from_file", shapes)
        return
    if what := _misfit(shapes, parameter_shapes(spec)):
        report("init.from_file", f"{path} does not fit: {what}")


def _misfit(shapes: Shapes, wanted: Shapes) -> str:
    """How parameters of some shapes differ from those that a model needs, or ''."""
    problems = [f"lacks {name}" for name in wanted if name not in shapes]
    problems += [f"has {name}, which this model has not" for name in shapes if name not in wanted]
    problems += [
        f"has {name} of shape {list(shapes[name])}, this model needs {list(wanted[name])}"
        for name in wanted
        if name in shapes and shapes[name] != wanted[name]
    ]
    more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
    return "; ".join(problems[:4]) + more


def warnings(spec: RunSpec, explicit: set[str]) -> list[str]:
    """What is allowed, but may not be what was meant."""
    notes = []
    optimizer, init = spec.optimizer, spec.init
    if spec.constraint.replaces_decay and "optimizer.weight_decay" in explicit and optimizer.weight_decay:
        notes.append(
            f"constraint {spec.constraint.name} with weight_decay {optimizer.weight_decay:g}: the decay only turns the "
            "update; leave weight_decay out to have none"
        )
    is_adam = optimizer.has_second_moment
    if spec.loss.ends_slingshots and spec.model.depth == 1 and optimizer.weight_decay == 0 and is_adam:
        notes.append(
            "no weight decay and loss.precision exact: no network of one layer was ever seen to slingshot so; "
            "float32 is the one that slingshots"
        )
    scaled = init.scale != 1 or any(factor != 1 for factor in init.scale_by_matrix.values())
    if init.takes_state and scaled:
        notes.append(
            "init.from_run with optimizer: keep and init.scale: parameters are scaled, the moments that go on are not"
        )
    return notes
