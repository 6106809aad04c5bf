"""A W&B sweep file of somebody's training script as one of ours, as far as its names tell.

What is not understood stays as a comment with its line and the reason, and so does what our checks refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from grokjax.spec.families import FAMILIES
from grokjax.sweep.axes import ENTRY_KEYS
from grokjax.sweep.expand import expand
from grokjax.sweep.keys import FAMILY_PATHS, last_words, run_keys
from grokjax.sweep.load import Document, Mistake, SweepError, parse_sweep
from grokjax.sweep.nodes import Keys
from grokjax.sweep.synonyms import Meaning, meaning_of, plain_word, value_of
from grokjax.sweep.top import WANDB_ONLY, written_name

Convert = Callable[[Any], Any]
DRAWS = 50  # of a random sweep that says none
VALUE_WORDS = ("value", "values", "min", "max")  # of an entry, which hold what a key can be
PAIRS = ("betas", "adam_betas")
HEAD = """\
# From {file}, a W&B sweep{of}.
# What the script sets itself, and the sweep does not, has grokjax's defaults here: compare with `grokjax plan`.
"""


@dataclass(frozen=True)
class Entry:
    """One parameter of the W&B sweep, and what becomes of it."""

    word: str
    line: int
    entry: dict[str, Any]
    keys: tuple[str, ...] = ()  # ours; of a pair two
    remark: str = ""
    why_not: str = ""  # it stays a comment


def translate(document: Document, name: str) -> str:
    """The text of a sweep called `name` that `grokjax plan` accepts. Raises SweepError where it is no W&B sweep."""
    parameters = document.data.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        what = "is no W&B sweep: it has no `parameters`"
        raise SweepError([Mistake(document.file, 0, 0, "", what)])
    found = list(_entries(parameters, ("parameters",), document))
    batched = any(_key_of(each.word)[0] == ("train.batch",) for each in found)
    entries: list[Entry] = []
    for each in found:
        understood = _understood(each, batched)
        twin = next((other for other in entries if set(other.keys) & set(understood.keys)), None)
        if twin and not understood.why_not:
            understood = replace(understood, why_not=f"{', '.join(twin.keys)} is taken from {twin.word}")
        entries.append(understood)
    return _accepted(entries, document, name)


def _entries(parameters: dict[str, Any], path: Keys, document: Document) -> Iterator[Entry]:
    for word, entry in parameters.items():
        here = (*path, word)
        if isinstance(entry, dict) and isinstance(entry.get("parameters"), dict):
            yield from _entries(entry["parameters"], (*here, "parameters"), document)
        else:
            entry = entry if isinstance(entry, dict) else {"value": entry}
            yield Entry(word, document.place(here)[1], entry)


def _understood(given: Entry, batched: bool) -> Entry:
    """The entry under our key, with its values as ours."""
    keys, meaning = _key_of(given.word)
    odd = [word for word in given.entry if word not in ENTRY_KEYS]
    if odd or not {*VALUE_WORDS, "mu", "distribution"} & set(given.entry):
        return replace(given, why_not="it is no parameter in W&B's words")
    if not keys:
        return replace(given, why_not=meaning.remark if meaning else "no key of grokjax is known to mean this")
    remark = meaning.remark if meaning else ""
    convert: Convert | None = partial(_option, keys[0])
    if plain_word(given.word) in PAIRS:
        return _pair(given)
    if meaning and not meaning.same:
        convert, told = _conversion(plain_word(given.word), keys[0], batched)
        if convert is None:
            return replace(given, why_not=f"{' or '.join(keys)}: {remark}")
        remark = told
    entry = {word: _converted(word, value, convert) for word, value in given.entry.items()}
    return replace(given, keys=keys[:1], entry=entry, remark=remark)


def _key_of(word: str) -> tuple[tuple[str, ...], Meaning | None]:
    """Our keys for a word of theirs, and what is known of it where it is no word of ours."""
    plain = plain_word(word)
    if plain in FAMILY_PATHS:
        return (f"{plain}.name",), None
    if word in run_keys(FAMILIES):
        return (word,), None
    last = plain.rpartition(".")[2]
    own = last_words(FAMILIES).get(last, [])
    meaning = meaning_of(last)
    other = meaning is not None and not (meaning.same and own and own[0] in meaning.keys)
    if own and (len(own) == 1 or last in own) and not other:
        return (own[0],), None
    return (meaning.keys, meaning) if meaning and "." in "".join(meaning.keys) + "." else ((), meaning)


def _conversion(word: str, key: str, batched: bool) -> tuple[Convert | None, str]:
    """How values of a word become those of our key, and what is to be said of it; None: they cannot."""
    if key == "train.steps" and not batched and "epoch" in word:
        return lambda value: value, "the batch is full, so an epoch is one step"
    if "pct" in word or "percent" in word:
        return _share, "a percentage there"
    if key.endswith(".name") or key == "task.op":
        return partial(_option, key), ""
    return None, ""


def _share(percentage: Any) -> Any:
    is_number = isinstance(percentage, (int, float)) and not isinstance(percentage, bool)
    return percentage / 100 if is_number else percentage


def _converted(word: str, value: Any, convert: Convert) -> Any:
    if word == "values" and isinstance(value, list):
        return [convert(item) for item in value]
    return convert(value) if word in VALUE_WORDS else value


def _option(key: str, value: Any) -> Any:
    """A name as we write it: `AdamW` is adamw."""
    if not isinstance(value, str):
        return value
    kind = FAMILY_PATHS.get(key.removesuffix(".name"))
    if kind and key.endswith(".name"):
        options = set(FAMILIES[kind])
    else:
        types = [field.annotation for field in run_keys(FAMILIES).get(key, [])]
        options = {option for each in types if get_origin(each) is Literal for option in get_args(each)}
    return plain_word(value) if plain_word(value) in options else value_of(key, value) or value


def _pair(given: Entry) -> Entry:
    """Two keys of one list each; or why not."""
    pairs = given.entry["values"] if isinstance(given.entry.get("values"), list) else [given.entry.get("value")]
    if not pairs or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return replace(given, why_not="it is not the pair (beta1, beta2)")
    return replace(given, keys=("optimizer.b1", "optimizer.b2"), entry={"values": pairs})


def _accepted(entries: list[Entry], document: Document, name: str) -> str:
    """The sweep without what our checks refuse, which becomes a comment with the reason."""
    text, lines = _written(entries, document, name)
    try:
        expand(parse_sweep(text, f"{name}.yaml", Path()))
    except SweepError as error:
        if not lines:
            raise
        reasons = {lines[mistake.line]: mistake.what for mistake in error.mistakes if mistake.line in lines}
        reasons = reasons or dict.fromkeys(lines.values(), error.mistakes[0].what)
        fewer = [replace(each, why_not=reasons.get(at, each.why_not)) for at, each in enumerate(entries)]
        return _accepted(fewer, document, name)
    return text


def _written(entries: list[Entry], document: Document, name: str) -> tuple[str, dict[int, int]]:
    """The file's text, and its lines -> the number of the entry that each is of."""
    data = document.data
    of = f" of {data['program']}" if isinstance(data.get("program"), str) else ""
    rows = [*HEAD.format(file=Path(document.file).name, of=of).splitlines(), f"name: {written_name(name)}"]
    if isinstance(data.get("description"), str):
        rows.append(f"description: {json.dumps(data['description'], ensure_ascii=False)}")
    lines: dict[int, int] = {}

    def put(text: str, at: int) -> None:
        each = entries[at]
        rows.append(f"{text}  # {each.word}, line {each.line}{each.remark and ': '}{each.remark}")
        lines[len(rows)] = at

    taken = {at: each for at, each in enumerate(entries) if not each.why_not}
    fixed = {at: values for at, each in taken.items() if (values := _fixed_values(each))}
    rows += ["base:"] if fixed else []
    for at, values in fixed.items():
        for key, value in values.items():
            put(f"  {key}: {_text(value)}", at)
    axes = [at for at in taken if at not in fixed]
    rows += _method(data, bool(axes))
    single, pairs = ([at for at in axes if (len(taken[at].keys) == 2) == pair] for pair in (False, True))
    rows += ["parameters:"] if single else []
    for at in single:
        put(f"  {taken[at].keys[0]}: {_text(taken[at].entry)}", at)
    rows += ["zip:"] if pairs else []
    for at in pairs:
        columns = zip(*taken[at].entry["values"], strict=True)
        put(f"  - {_text(dict(zip(taken[at].keys, map(list, columns), strict=True)))}", at)
    return "\n".join([*rows, *_left(entries, data), ""]), lines


def _fixed_values(each: Entry) -> dict[str, Any]:
    """Key -> value, of an entry that has one value; {} of an axis."""
    values = each.entry.get("values", [each.entry["value"]] if "value" in each.entry else [])
    if not isinstance(values, list) or len(values) != 1:
        return {}
    return dict(zip(each.keys, values[0] if len(each.keys) == 2 else values, strict=True))


def _method(data: dict[str, Any], sweeps: bool) -> list[str]:
    method, cap = data.get("method"), data.get("run_cap")
    if method == "grid" or not sweeps:
        return []
    told = (
        "" if method == "random" else f"  # it was {method}: a search by earlier losses misleads where a loss is flat"
    )
    count = f"run_cap: {cap}" if isinstance(cap, int) else f"run_cap: {DRAWS}  # draws in all; W&B's had no end"
    return [f"method: random{told}", count]


def _left(entries: list[Entry], data: dict[str, Any]) -> list[str]:
    """What is not taken over, as comments."""
    left = [f"#   {each.word}: {_text(each.entry)}  (line {each.line}: {each.why_not})" for each in entries
            if each.why_not]  # fmt: skip
    rows = ["", "# Not taken over; say it with a key of sweeps/README.md if it matters:", *left] if left else []
    ignored = [key for key in WANDB_ONLY if key in data]
    return [*rows, f"# Of W&B, without a meaning here: {', '.join(ignored)}"] if ignored else rows


def _text(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value, ensure_ascii=False)
