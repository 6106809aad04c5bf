"""Which dotted keys a run has, and what to say about one that it has not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic.fields import FieldInfo

from grokjax.spec.families import FAMILIES
from grokjax.spec.fields import DISTRIBUTIONS
from grokjax.spec.roles import role_of
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Families, Section, kind_by_matrix, kind_of
from grokjax.spec.shapes import split_matrix
from grokjax.spec.walk import fields_of, section_of
from grokjax.sweep.spelling import did_you_mean, nearest
from grokjax.sweep.synonyms import meaning_of, plain_word

TOP = (
    "name", "base", "log", "events", "engine", "method", "run_cap", "random_seed", "parameters", "zip", "arms", "uses",
    "extends", "description",
)  # fmt: skip
# elsewhere they mean other things
GENERIC = {
    "method", "path", "run", "results", "select", "step", "params", "final", "threshold", "rank", "decay", "beta",
    "gamma", "eta", "rho", "rate", "factor", "adaptive", "weights", "betas",
}  # fmt: skip
RUN_KEYS = tuple(name for name in RunSpec.model_fields if name != "uses")  # that file is the whole sweep's
FROM_RUN = "init.from_run"  # the one section that may be null, and that an axis may take as a whole
SELECT = f"{FROM_RUN}.select"  # a value that is a mapping: its keys are columns, and hold dots
ANY = "*"  # in a path, a matrix


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
        by_matrix = kind_by_matrix(field)
        if by_matrix and ANY not in prefix:
            yield f"{prefix}{name}.{ANY}", by_matrix
            yield from _family_paths(section, f"{prefix}{name}.{ANY}.")


# where a `name` picks a family -> its kind: optimizer, optimizer.schedule, optimizer.groups.*
FAMILY_PATHS = dict(_family_paths(RunSpec))
BY_MATRIX = tuple(path.removesuffix(f".{ANY}") for path in FAMILY_PATHS if path.endswith(f".{ANY}"))


def kind_at(path: str) -> str | None:
    """The kind of the families that a path picks from."""
    return FAMILY_PATHS.get(path) or FAMILY_PATHS.get(_any_matrix(path))


def family_paths(keys: Iterable[str]) -> dict[str, str]:
    """The paths that pick a family -> their kinds; of those by matrix, the ones that some keys are below of."""
    found = {path: kind for path, kind in FAMILY_PATHS.items() if ANY not in path}
    for key in keys:
        for above in BY_MATRIX:
            if key.startswith(f"{above}."):
                matrix, _ = split_matrix(key.removeprefix(f"{above}.").split("."))
                general = {path: kind for path, kind in FAMILY_PATHS.items() if path.startswith(f"{above}.{ANY}")}
                found |= {path.replace(ANY, matrix): kind for path, kind in general.items()}
    return found


def without_matrix(key: str) -> str:
    """The key that a group's key is called elsewhere: of optimizer.groups.W_E.lr, optimizer.lr."""
    for above in BY_MATRIX:
        if key.startswith(f"{above}."):
            rest = split_matrix(key.removeprefix(f"{above}.").split("."))[1]
            return ".".join([*above.split(".")[:-1], *rest])
    return key


def _any_matrix(path: str) -> str:
    for above in BY_MATRIX:
        if path.startswith(f"{above}."):
            rest = split_matrix(path.removeprefix(f"{above}.").split("."))[1]
            return ".".join([above, ANY, *rest])
    return path


def split_key(key: str) -> list[str]:
    """'init.scale_by_matrix.W_O.0' -> ['init', 'scale_by_matrix', 'W_O.0']: names of matrices keep their dots, and so
    do the columns of `select`. After a matrix of `init.distribution` may stand the kind, whose number is meant."""
    parts = key.split(".")
    for above in BY_MATRIX:
        if key.startswith(f"{above}."):
            matrix, rest = split_matrix(key.removeprefix(f"{above}.").split("."))
            parts = [*above.split("."), matrix, *rest]
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
        if above in BY_MATRIX:
            models = _options(path, names, families)
            continue
        having = [model for model in models if part in model.model_fields and path != "uses"]
        if not having:
            return path, _unknown(above, part, models, names, from_axis, families)
        if kind_at(path):
            models = _options(path, names, families)
            continue
        if path in BY_MATRIX and index < len(parts) - 1:
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


def _options(path: str, names: Mapping[str, str | None], families: Families) -> list[type[Section]]:
    """The family that is named at a path, or all that may be."""
    options, name = families[FAMILY_PATHS[_any_matrix(path)]], names.get(path)
    return [options[name]] if name else list(options.values())


def _no_keys_below(path: str, rest: str) -> str:
    if path == SELECT:
        return f"unknown key: {SELECT} is one value, a mapping: write {SELECT}: {{{rest}: ...}}"
    if _any_matrix(path).endswith(f".{ANY}.groups"):
        return "a group has no groups of its own"
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
    if kind := kind_at(above):
        options, name = families[kind], names.get(above)
        having = [other for other, family in options.items() if word in family.model_fields]
        if having and name and from_axis:
            return f"an axis without effect: {above} {name} has no key {word}; move it into the arms that use it"
        if having and name:
            what = f"unknown key: {above} {name} has no {word}"
            return what + (
                _synonym(word, above, fields) or f", that is a key of {_some(having)}{_elsewhere(word, above)}"
            )
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
    if meant := _synonym(word, above, fields):
        return meant
    return did_you_mean(word, fields) or suggest(word, families, exact=True)


def _synonym(word: str, above: str, fields: list[str]) -> str:
    """What a section calls a word of others."""
    meaning = meaning_of(word)
    for key in meaning.keys if meaning else ():
        section, _, name = key.rpartition(".")
        if name in fields and section in (without_matrix(above), ""):
            return _meant(name, meaning.remark if meaning else "")
    return ""


def _elsewhere(word: str, above: str) -> str:
    """What a word of others, that is one of some families too, means in another section."""
    meaning = meaning_of(word)
    there = meaning.keys[0] if meaning and meaning.anywhere and meaning.keys else ""
    is_there = meaning is not None and there.rpartition(".")[0] not in ("", without_matrix(above))
    return _meant(there, meaning.remark) if meaning and is_there else ""


def _some(names: list[str], most: int = 4) -> str:
    """`adamw, adam, acprop, lion, others`"""
    return ", ".join([*names[:most], "others"] if len(names) > most + 1 else names)


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
                if path == "uses" or role_of(field).filled:
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
