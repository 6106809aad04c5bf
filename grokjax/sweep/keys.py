"""Which dotted keys a run has, and what to say about one that it has not."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

from grokjax.sweep.load import did_you_mean
from grokjax.sweep.spec import FAMILIES, RunSpec, Section

TOP = (
    "name", "base", "log", "events", "engine", "method", "run_cap", "random_seed", "parameters", "zip", "arms",
)  # fmt: skip
FROM_RUN = "init.from_run"  # the one section that may be null, and that an axis may take as a whole
SELECT = f"{FROM_RUN}.select"  # a value that is a mapping: its keys are columns, and hold dots
# words that people bring along, and ours
SYNONYMS = {
    "learning_rate": "lr", "wd": "weight_decay", "l2": "weight_decay", "decay_rate": "weight_decay",
    "beta1": "b1", "beta_1": "b1", "beta2": "b2", "beta_2": "b2", "betas": "b1", "epsilon": "eps",
    "warmup": "warmup_steps", "clip": "clip_norm", "grad_clip": "clip_norm", "max_grad_norm": "clip_norm",
    "epochs": "steps", "num_epochs": "steps", "num_steps": "steps", "n_steps": "steps", "max_steps": "steps",
    "iterations": "steps", "batch_size": "batch", "frac_train": "train_fraction", "fraction": "train_fraction",
    "data_fraction": "train_fraction", "operation": "op", "modulus": "p", "prime": "p",
    "n_heads": "heads", "num_heads": "heads", "n_layers": "layers", "num_layers": "layers", "depth": "layers",
    "hidden": "widths", "hidden_sizes": "widths", "width": "widths", "act": "activation", "alpha": "scale",
    "type": "name", "norm": "radius", "log_every": "every", "random_state": "seed", "dtype": "params",
    "run_id": "run", "directory": "results", "dir": "results", "path": "results",
}  # fmt: skip


def split_key(key: str) -> list[str]:
    """'init.scale_by_matrix.W_O.0' -> ['init', 'scale_by_matrix', 'W_O.0']: names of matrices keep their dots, and so
    do the columns of `select`."""
    parts = key.split(".")
    if key.startswith(SELECT + "."):
        return [*SELECT.split("."), key.removeprefix(SELECT + ".")]
    for index, part in enumerate(parts):
        if part.endswith("_by_matrix") and index + 1 < len(parts):
            return [*parts[: index + 1], ".".join(parts[index + 1 :])]
    return parts


def families_of(section: str, keys: list[str]) -> list[str]:
    """The families of a section, those that have most of `keys` first."""
    words = {split_key(key)[1] for key in keys if "." in key}
    families = FAMILIES[section]
    return sorted(families, key=lambda name: -len(words & families[name].model_fields.keys()))


@cache
def key_problem(key: str, family: str | None, from_axis: bool) -> tuple[str, str] | None:
    """The part of a key that is wrong, and how, in a run whose section is of `family`; None if it is a key
    with a value."""
    parts = split_key(key)
    models: list[type[Section]] = [RunSpec]
    for index, part in enumerate(parts):
        having = [model for model in models if part in model.model_fields]
        if not having:
            return ".".join(parts[: index + 1]), _unknown(parts, index, family, from_axis)
        if index == 0 and part in FAMILIES:
            models = [FAMILIES[part][family]] if family else list(FAMILIES[part].values())
            continue
        section = section_of(having[0].model_fields[part].annotation)
        if section and not (key == FROM_RUN and index == 1):
            models = [section]
        elif part.endswith("_by_matrix") or index == len(parts) - 1:
            return None
        else:
            above, rest = ".".join(parts[: index + 1]), ".".join(parts[index + 1 :])
            if above == SELECT:
                return key, f"unknown key: {SELECT} is one value, a mapping: write {SELECT}: {{{rest}: ...}}"
            return key, f"unknown key: {above} is a single value, it has no key {rest}"
    example = next(name for name in models[0].model_fields if name != "name")
    what = f"is a section, not a value: write its keys, for instance {key}.{example}"
    return key, f"{what}; `zip` moves several together"


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, or may hold."""
    options = [option for option in (annotation, *get_args(annotation)) if isinstance(option, type)]
    return next((option for option in options if issubclass(option, Section)), None)


def _unknown(parts: list[str], index: int, family: str | None, from_axis: bool) -> str:
    above, word = parts[:index], parts[index]
    shown = word if word.strip() == word and word else f"'{word}'"
    if not above:
        if word == "base":
            return "unknown key: keys are written without `base.`, for instance optimizer.lr"
        if word in TOP:
            return "unknown key: it stands at the top level of the file, not in a run"
        near = suggest(word) if word not in RunSpec.model_fields else ""
        odd = "" if shown == word else f" {shown}"
        return f"unknown key{odd}" + (near or f"; a run has {', '.join(RunSpec.model_fields)}")
    if len(above) == 1 and above[0] in FAMILIES:
        having = [name for name, other in FAMILIES[above[0]].items() if word in other.model_fields]
        if having and family and from_axis:
            return f"an axis without effect: {above[0]} {family} has no key {word}; move it into the arms that use it"
        if having and family:
            return f"unknown key: {above[0]} {family} has no {word}, that is a key of {', '.join(having)}"
        fields = list(FAMILIES[above[0]][family or next(iter(FAMILIES[above[0]]))].model_fields)
        where = f"{above[0]} {family}" if family else above[0]
    else:
        model: type[Section] = RunSpec
        for part in above:
            first = FAMILIES[part][next(iter(FAMILIES[part]))] if part in FAMILIES else None
            section = first or section_of(model.model_fields[part].annotation)
            assert section
            model = section
        fields, where = list(model.model_fields), ".".join(above)
    near = f" (did you mean {SYNONYMS[word]}?)" if SYNONYMS.get(word) in fields else did_you_mean(word, fields)
    near = near or suggest(word, exact=True) or f"; it has {', '.join(fields)}"
    return f"unknown key: {where} has no {shown}{near}"


def suggest(word: str, exact: bool = False, prefix: str = "") -> str:
    """' (did you mean train.steps?)' for a word that stands, or nearly, somewhere among a run's keys."""
    leaves = _leaves()
    meant = SYNONYMS.get(word, word)
    if meant in leaves:
        return f" (did you mean {prefix}{leaves[meant]}?)"
    if exact:
        return ""
    near = did_you_mean(word, RunSpec.model_fields)
    if not near and (close := did_you_mean(word, leaves, cutoff=0.8)):
        near = f" (did you mean {leaves[close.removeprefix(' (did you mean ').removesuffix('?)')]}?)"
    return near.replace("did you mean ", f"did you mean {prefix}")


@cache
def _leaves() -> dict[str, str]:
    """Last word of a key -> the key; of several, the first section's."""
    leaves: dict[str, str] = {}
    for section, field in RunSpec.model_fields.items():
        annotation = field.annotation
        models = list(FAMILIES.get(section, {}).values())
        if not models and isinstance(annotation, type) and issubclass(annotation, Section):
            models = [annotation]
        leaves.setdefault(section, section)
        for model in models:
            for word in model.model_fields:
                leaves.setdefault(word, f"{section}.{word}")
    return leaves
