"""Which dotted keys a run has, and what to say about one that it has not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic.fields import FieldInfo

from grokjax.spec.families import FAMILIES
from grokjax.spec.fields import DISTRIBUTIONS
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Families, Section, kind_of
from grokjax.spec.walk import fields_of, section_of
from grokjax.sweep.spelling import did_you_mean, nearest
from grokjax.sweep.synonyms import meaning_of, plain_word

TOP = (
    "name", "base", "log", "events", "engine", "method", "run_cap", "random_seed", "parameters", "zip", "arms", "uses",
    "extends", "description",
)  # fmt: skip
GENERIC = {"method", "path", "run", "results", "select", "step", "params", "final"}  # elsewhere they mean other things
RUN_KEYS = tuple(name for name in RunSpec.model_fields if name != "uses")  # that file is the whole sweep's
FROM_RUN = "init.from_run"  # the one section that may be null, and that an axis may take as a whole
SELECT = f"{FROM_RUN}.select"  # a value that is a mapping: its keys are columns, and hold dots


DISTRIBUTION = "init.distribution"


def is_table(word: str) -> bool:
    """Whether a key ends with a word whose keys below are names of matrices."""
    return word.endswith("_by_matrix") or word == "distribution"


def _family_paths(section: type[Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        kind = kind_of(field)
        if kind and isinstance(field.annotation, type):
            yield f"{prefix}{name}", kind
            yield from _family_paths(field.annotation, f"{prefix}{name}.")


FAMILY_PATHS = dict(_family_paths(RunSpec))  # where a `name` picks a family -> its kind: optimizer, optimizer.schedule


def split_key(key: str) -> list[str]:
    """'init.scale_by_matrix.W_O.0' -> ['init', 'scale_by_matrix', 'W_O.0']: names of matrices keep their dots, and so
    do the columns of `select`. After a matrix of `init.distribution` may stand the kind, whose number is meant."""
    parts = key.split(".")
    if key.startswith(SELECT + "."):
        return [*SELECT.split("."), key.removeprefix(SELECT + ".")]
    for index, part in enumerate(parts):
        if is_table(part) and index + 1 < len(parts):
            has_kind = part == "distribution" and parts[-1] in DISTRIBUTIONS and index + 2 < len(parts)
            end = len(parts) - has_kind
            return [*parts[: index + 1], ".".join(parts[index + 1 : end]), *parts[end:]]
    return parts


def families_of(kind: str, keys: list[str], families: Families) -> list[str]:
    """The families of a section, those that have most of `keys` first."""
    words = {split_key(key)[1] for key in keys if "." in key}
    options = families[kind]
    return sorted(options, key=lambda name: -len(words & options[name].model_fields.keys()))


def key_problem(
    key: str, names: Mapping[str, str | None], from_axis: bool, families: Families
) -> tuple[str, str] | None:
    """The part of a key that is wrong, and how; None if it is a key with a value.

    names: of the families where they are known, by their paths (`optimizer`, `optimizer.schedule`).
    """
    parts = split_key(key)
    models: list[type[Section]] = [RunSpec]
    for index, part in enumerate(parts):
        path, above = ".".join(parts[: index + 1]), ".".join(parts[:index])
        having = [model for model in models if part in model.model_fields and path != "uses"]
        if not having:
            return path, _unknown(above, part, models, names, from_axis, families)
        if path in FAMILY_PATHS:
            options, name = families[FAMILY_PATHS[path]], names.get(path)
            models = [options[name]] if name else list(options.values())
            continue
        section = section_of(having[0].model_fields[part].annotation)
        if section and not (key == FROM_RUN and index == 1):
            models = [section]
        elif is_table(part) or index == len(parts) - 1:
            return None
        else:
            return key, _no_keys_below(path, ".".join(parts[index + 1 :]))
    example = next((name for name in models[0].model_fields if name != "name"), "name")
    what = f"is a section, not a value: write its keys, for instance {key}.{example}"
    return key, f"{what}; `zip` moves several together"


def _no_keys_below(path: str, rest: str) -> str:
    if path == SELECT:
        return f"unknown key: {SELECT} is one value, a mapping: write {SELECT}: {{{rest}: ...}}"
    return f"unknown key: {path} is a single value, it has no key {rest}"


def _unknown(
    above: str,
    word: str,
    models: list[type[Section]],
    names: Mapping[str, str | None],
    from_axis: bool,
    families: Families,
) -> str:
    shown = word if word.strip() == word and word else f"'{word}'"
    if not above:
        return _unknown_section(word, shown, families)
    fields, where = list(fields_of(models[0])), above
    if above in FAMILY_PATHS:
        options, name = families[FAMILY_PATHS[above]], names.get(above)
        having = [other for other, family in options.items() if word in family.model_fields]
        if having and name and from_axis:
            return f"an axis without effect: {above} {name} has no key {word}; move it into the arms that use it"
        if having and name:
            return f"unknown key: {above} {name} has no {word}, that is a key of {', '.join(having)}"
        where = f"{above} {name}" if name else above
    near = _hint(word, above, fields, families) or f"; it has {', '.join(fields)}"
    return f"unknown key: {where} has no {shown}{near}"


def _unknown_section(word: str, shown: str, families: Families) -> str:
    if word == "base":
        return "unknown key: keys are written without `base.`, for instance optimizer.lr"
    if word in TOP:
        return "unknown key: it stands at the top level of the file, not in a run"
    near = suggest(word, families) if word not in RUN_KEYS else ""
    odd = "" if shown == word else f" {shown}"
    return f"unknown key{odd}" + (near or f"; a run has {', '.join(RUN_KEYS)}")


def _hint(word: str, above: str, fields: list[str], families: Families) -> str:
    """What was meant by a word that a section has not: what it is called there, or where it stands."""
    if plain_word(word) == above.rpartition(".")[2] and "name" in fields:
        return _meant("name", "")
    meaning = meaning_of(word)
    for key in meaning.keys if meaning else ():
        section, _, name = key.rpartition(".")
        if name in fields and section in (above, ""):
            return _meant(name, meaning.remark if meaning else "")
    return did_you_mean(word, fields) or suggest(word, families, exact=True)


def _meant(key: str, remark: str) -> str:
    return f" (did you mean {key}? {remark})" if remark else f" (did you mean {key}?)"


def suggest(
    word: str, families: Families = FAMILIES, exact: bool = False, prefix: str = "", others: Iterable[str] = ()
) -> str:
    """' (did you mean train.steps?)' for a word that stands, or nearly, somewhere among a run's keys.

    exact: nothing that is only spelled alike. prefix: of such a key where it is said. others: further words that may
    have been meant, without the prefix.
    """
    places = last_words(families)
    plain = plain_word(word)
    if plain in places and plain not in GENERIC:
        return f" (did you mean {prefix}{places[plain][0]}?)"
    meaning = meaning_of(word)
    if meaning and not meaning.keys:
        return f" ({meaning.remark})"
    if meaning and meaning.anywhere and (meaning.keys[0] in RUN_KEYS or "." in meaning.keys[0]):
        return _meant(f"{prefix}{meaning.keys[0]}", meaning.remark)
    if exact:
        return ""
    if near := did_you_mean(word, others):
        return near
    found = nearest(word, RUN_KEYS) or nearest(word, places)
    return f" (did you mean {prefix}{places[found][0]}?)" if found else ""


def run_keys(families: Families) -> dict[str, list[FieldInfo]]:
    """Every key that a run can have -> its fields, one for each family that has it."""
    found: dict[str, list[FieldInfo]] = {}

    def walk(models: Iterable[type[Section]], prefix: str) -> None:
        for model in models:
            for name, field in model.model_fields.items():
                path = f"{prefix}{name}"
                if path == "uses":
                    continue
                found.setdefault(path, []).append(field)
                inner = section_of(field.annotation)
                if path in FAMILY_PATHS:
                    walk(families[FAMILY_PATHS[path]].values(), f"{path}.")
                elif inner:
                    walk([inner], f"{path}.")

    walk([RunSpec], "")
    return found


def last_words(families: Families) -> dict[str, list[str]]:
    """Last word of a key -> the keys that end so, the shortest first."""
    found: dict[str, list[str]] = {}
    for key in sorted(run_keys(families), key=lambda key: key.count(".")):
        found.setdefault(key.rpartition(".")[2], []).append(key)
    return found
