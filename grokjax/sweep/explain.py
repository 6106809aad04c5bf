"""What pydantic says of a value, in words for the person who wrote it."""

from __future__ import annotations

import re
from typing import Any

from grokjax.spec.fields import BEFORE, EVENT_KINDS
from grokjax.sweep.keys import FROM_RUN, SELECT, kind_at
from grokjax.sweep.layers import Layer, Mistakes, find, place_of
from grokjax.sweep.nodes import describe
from grokjax.sweep.spelling import did_you_mean
from grokjax.sweep.synonyms import value_hint


def report(problem: Any, items: Layer, mistakes: Mistakes) -> None:
    parts = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    index = next((part for part in problem["loc"] if isinstance(part, int)), None)
    if parts[:2] == ["engine", "lanes"] and problem["type"] != "literal_error":
        return  # pydantic reports each member of the union; the first says it all
    if parts[-1:] == ["[key]"]:
        parts.pop()
    parts = [part for part in parts if not part.startswith("literal[")]
    key = ".".join(parts)
    if problem["type"] == "family" and kind_at(key):
        return  # told where the name stands
    item, path = find(key, items), place_of(key, items)
    drawn = item is not None and item.from_axis and item.path is not None and item.path == item.key_path
    hint = "; int_uniform and q_uniform draw whole numbers" if drawn and "int" in problem["type"] else ""
    if path is not None:
        for deeper in (*parts[-1:], index, *parts[-1:]):  # the last word may stand in an item of a list
            if deeper is not None and mistakes.document.has((*path, deeper)):
                path = (*path, deeper)
    if problem["type"] == "extra_forbidden":
        holder = _holder(item.value, problem["loc"]) if item else None
        mistakes.at(path, key, _unknown_in_family(parts[-1], holder, mistakes))
        return
    mistakes.at(path, key, _explain(problem, key) + hint)


def _holder(value: Any, loc: tuple[Any, ...]) -> Any:
    """What holds the last word of a place within a value, whose own place may be any beginning of it."""
    for begin in range(len(loc)):
        inside: Any = value
        for word in loc[begin:-1]:
            is_item = isinstance(word, int) and isinstance(inside, list)
            is_there = is_item or (isinstance(inside, dict) and word in inside)
            inside = inside[word] if is_there else None
        if isinstance(inside, dict) and loc[-1] in inside:
            return inside
    return None


def _unknown_in_family(word: str, holder: Any, mistakes: Mistakes) -> str:
    """Of a key that a family within a value (an item of optimizer.filters) has not."""
    name = holder.get("name") if isinstance(holder, dict) else None
    having = [families[name] for families in mistakes.families.values() if isinstance(name, str) and name in families]
    if not having:
        return "unknown key"
    fields = list(having[0].model_fields)
    near = did_you_mean(word, fields) or f"; it has {', '.join(fields)}"
    return f"unknown key: {name} has no {word}{near}"


def _explain(problem: Any, key: str) -> str:
    kind, context, got = problem["type"], problem.get("ctx", {}), problem.get("input")
    if kind == "literal_error":
        options = [option.strip("'\"") for option in context["expected"].replace(" or ", ", ").split(", ")]
        options = [option.lower() if option in ("True", "False") else option for option in options]
        if key == "engine.lanes":
            return f"must be auto or a whole number from 1 on, got {describe(got)}"
        return f"must be one of {', '.join(options)}, got {describe(got)}{value_hint(key, got, options)}"
    if kind == "family":
        hint = did_you_mean(context["name"], context["options"].split(", "))
        return f"unknown {context['kind']} {context['name']!r}{hint}; there are {context['options']}"
    if kind == "form":
        return f"must be {context['what']}, got {describe(got)}{_form_hint(key, got)}"
    if kind == "missing":
        needed = ": init.from_run needs results, a directory, and run or select" if key.startswith(FROM_RUN) else ""
        return f"is missing{needed}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for word, phrase in words.items():
        if word in context:
            return f"out of range: must be {phrase} {_number(context[word])}, got {describe(got)}"
    if kind == "finite_number":
        return f"must be finite, got {describe(got)}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries, got {context['actual_length']}"
    if kind == "too_short":
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have {least} entries, got {context['actual_length']}"
    expected = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    expected |= {"list": "a list", "dict": "a mapping", "model": "a mapping"}
    wanted = str(expected.get(kind.split("_")[0], problem["msg"]))
    return f"wrong type: expected {wanted}, got {describe(got)}{_unquote(wanted, got)}"


def _form_hint(key: str, got: Any) -> str:
    """What was probably meant by a value that must have a form of its own."""
    number = isinstance(got, (int, float)) and not isinstance(got, bool)
    if key == f"{FROM_RUN}.run" and number:
        return "; YAML reads such an id as a number: write it in quotes"
    if key == f"{FROM_RUN}.step" and isinstance(got, str):
        if got.isdecimal():
            return f"; write it without quotes: {got}"
        word, _, count = got.strip().removeprefix("before").strip().partition(":")
        event = f"before {word}:{count or 1}"
        return (
            f" (did you mean {event}?)" if re.fullmatch(BEFORE, event) else did_you_mean(word, ("final", *EVENT_KINDS))
        )
    if key == "log.snapshot_steps" and number:
        return f" (did you mean log:{got}?)"
    if key.startswith(f"{SELECT}.") and isinstance(got, dict):
        return f"; a column is written with dots, for instance {key.removeprefix(SELECT + '.')}.{next(iter(got), '')}"
    return ""


def _unquote(wanted: str, got: Any) -> str:
    """What to write instead of text that was meant as a number or a truth value."""
    if not isinstance(got, str):
        return ""
    if wanted == "true or false" and got.lower() in ("yes", "no", "on", "off", "true", "false"):
        return f"; write {'true' if got.lower() in ('yes', 'on', 'true') else 'false'}"
    if wanted == "a list":
        return f"; write it in brackets: [{got}]"
    if got.lower() in ("none", "nil", "~"):
        return "; write null"
    plain = got.strip().replace(",", ".")
    try:
        float(plain)
    except ValueError:
        return ""
    return f"; write it without quotes: {plain}" if "number" in wanted and len(plain) < 30 else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
