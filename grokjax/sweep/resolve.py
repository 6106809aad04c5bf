"""The values of a run that follow from others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from grokjax.spec.losses import Loss
from grokjax.spec.memo import Memo
from grokjax.spec.models import Model
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.run import Events, FromRun, Init, Log, RunSpec
from grokjax.spec.section import Family
from grokjax.spec.shapes import parameter_shapes, trained_shapes
from grokjax.spec.tasks import Split, Task
from grokjax.sweep.parents import Parent


def resolve(spec: RunSpec, explicit: set[str], parent: Parent | None = None, memo: Memo | None = None) -> RunSpec:
    """Fill in the values that follow from others: d_head, init scheme, split seed, eval_every, weight decay.

    explicit: the dotted keys that the user gave. parent: what a run with init.from_run starts from; it hands on its
    seed and its split. memo: kept from run to run where many are resolved.
    """
    if parent is not None:
        spec = _inherit(spec, explicit, parent)
    memo = memo or Memo()
    optimizer = spec.optimizer
    if spec.constraint.replaces_decay and "optimizer.weight_decay" not in explicit:
        optimizer = memo.of(_without_decay, optimizer)
    if spec.constraint.replaces_decay and optimizer.groups:
        optimizer = _without_decay_in_groups(optimizer, explicit)
    update = {
        "task": memo.of(_with_split_seed, memo.of(_resolved, spec.task), spec.seed),
        "model": memo.of(_reading, memo.of(_resolved, spec.model), spec.task.n_ctx == 0),
        "init": memo.of(_with_scheme, spec.init, spec.model.schemes),
        "log": memo.of(_resolved_log, spec.log),
        "optimizer": optimizer,
        "events": memo.of(_with_floor, spec.events, spec.loss.spike_floor),
    }
    spec = RunSpec.of(vars(spec) | update)
    return _with_names_of_frozen(spec) if spec.init.frozen else spec


def _with_names_of_frozen(spec: RunSpec) -> RunSpec:
    """`init.frozen` as names of parameters, so that `W_O` and `[W_O.0, W_O.1]` are one run."""
    trained = trained_shapes(spec)
    frozen = [name for name in parameter_shapes(spec) if name not in trained]
    return spec.model_copy(update={"init": spec.init.model_copy(update={"frozen": frozen})})


def _resolved(family: Family) -> Any:
    return family.resolved()


def _reading(model: Model, vectors: bool) -> Model:
    return model.reading(vectors)


def _without_decay(optimizer: Optimizer) -> Optimizer:
    return optimizer.model_copy(update={"weight_decay": 0.0})


def with_answers(spec: RunSpec, broken: Collection[str], memo: Memo) -> RunSpec:
    """With what a task's answers are where its loss says it: shapes follow from that, so it comes first."""
    if "task" in broken or "loss" in broken:
        return spec
    return RunSpec.of(vars(spec) | {"task": memo.of(_with_loss, spec.task, spec.loss)})


def _with_loss(task: Task, loss: Loss) -> Task:
    return task.with_loss(loss)


def _with_floor(events: Events, floor: float) -> Events:
    return events if events.slingshot_floor is not None else events.model_copy(update={"slingshot_floor": floor})


def _without_decay_in_groups(optimizer: Optimizer, explicit: set[str]) -> Optimizer:
    groups = {
        key: group if f"optimizer.groups.{key}.weight_decay" in explicit else _without_decay(group)
        for key, group in optimizer.groups.items()
    }
    return optimizer.model_copy(update={"groups": groups})


def _with_split_seed(task: Task, seed: int) -> Task:
    if task.split.seed is not None:
        return task
    return task.model_copy(update={"split": task.split.model_copy(update={"seed": seed})})


def _with_scheme(init: Init, schemes: tuple[str, ...]) -> Init:
    if init.scheme is not None or not schemes:
        return init
    return init.model_copy(update={"scheme": schemes[0]})


def _resolved_log(log: Log) -> Log:
    by_name = {probe.name: probe for probe in log.probes}  # in whatever order, they are one program
    probes = [by_name[name] for name in sorted(by_name)]
    return log.model_copy(update={"eval_every": log.evaluation_steps, "probes": probes})


def _inherit(spec: RunSpec, explicit: set[str], parent: Parent) -> RunSpec:
    """The parent in place of the request for it; its seed and its split, where the user gave none. So a smaller
    train_fraction is a subset of the parent's."""
    wanted, split = spec.init.from_run, parent.spec.task.split
    assert wanted is not None
    exact = FromRun(results=parent.results, run=parent.run_id, step=parent.step, optimizer=wanted.optimizer)
    given = {key: getattr(spec.task.split, key) for key in Split.model_fields if f"task.split.{key}" in explicit}
    update = {
        "init": spec.init.model_copy(update={"from_run": exact}),
        "task": spec.task.model_copy(update={"split": split.model_copy(update=given)}),
        "seed": spec.seed if "seed" in explicit else parent.spec.seed,
    }
    return spec.model_copy(update=update)
