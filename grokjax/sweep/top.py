"""The values at the top level of a sweep file: its name and method, and those of W&B that mean nothing here."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokjax.sweep.keys import TOP, suggest
from grokjax.sweep.layers import Mistakes
from grokjax.sweep.load import read_value
from grokjax.sweep.nodes import describe
from grokjax.sweep.spelling import did_you_mean
from grokjax.sweep.synonyms import TOP_WORDS

MAX_RUNS = 1_000_000
# keys of W&B's sweep files that mean nothing here: they may stand, so that one file serves both
WANDB_ONLY = (
    "program", "metric", "metrics", "early_terminate", "project", "entity", "command", "controller", "kind", "template",
    "apiVersion", "job", "image_uri", "scheduler", "queue", "prior_runs",
)  # fmt: skip
FAMILIAR = tuple(word for word in TOP if word != "uses")  # nobody who writes `seeds` means `uses`
NAME = "must be letters, digits, '-', '_' and '.' (at most 100), starting with a letter or digit"
BAYES = (
    "bayes picks runs by what earlier ones reached, and a run that will grok looks for long like one that never will: "
    "the loss is flat before; write method: random, with run_cap, or grid"
)


@dataclass(frozen=True)
class Top:
    name: str
    description: str | None
    draws: int | None  # of each arm, in a random sweep; None: a grid
    random_seed: int


def read_top(mistakes: Mistakes) -> Top:
    """The top level's own keys; what is wrong with them is reported."""
    document = mistakes.document
    for path, data in document.levels():
        _check_keys(data, path, mistakes)
    ignored = dict.fromkeys(key for _, data in document.levels() for key in data if key in WANDB_ONLY)
    if ignored:
        have = "have" if len(ignored) > 1 else "has"
        mistakes.note(f"W&B's {', '.join(ignored)} {have} no effect here")
    draws, random_seed = _read_method(mistakes)
    return Top(_read_name(mistakes), _read_description(mistakes), draws, random_seed)


def _check_keys(data: dict, path: Any, mistakes: Mistakes) -> None:
    for key in data:
        if key in TOP or key in WANDB_ONLY:
            continue
        near = TOP_WORDS.get(key)
        hint = f" (did you mean {near}?)" if near else suggest(key, mistakes.families, prefix="base.", others=FAMILIAR)
        mistakes.at((*path, key), key, f"unknown key{hint}; the top level has {', '.join(TOP)}")


def _read_name(mistakes: Mistakes) -> str:
    document = mistakes.document
    if "name" not in document.data:
        return default_name(Path(document.file).stem)
    name = document.data["name"]
    if isinstance(name, str) and is_name(name):
        return name
    what = f"{NAME}: it becomes a folder; got {describe(name)}"
    if isinstance(name, (int, float)):
        what = f"must be text, got {describe(name)}: write it in quotes, as '{describe(name).split(' ')[0]}'"
    mistakes.at(("name",), "name", what)
    return "sweep"


def default_name(stem: str) -> str:
    """The name of a sweep whose file says none, as a folder may be called. Letters that are lost are told apart by a
    number, so that two files do not share a folder."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-._")[:90]
    lost = any(letter.isalnum() and not letter.isascii() for letter in stem) or not plain
    number = f"{zlib.crc32(stem.encode('utf-8', 'surrogatepass')):08x}"
    return f"{plain or 'sweep'}-{number}" if lost else plain


def is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) is not None


def written_name(name: str) -> str:
    """A name as a sweep file has it: in quotes where it would be read as a number."""
    return name if isinstance(read_value(name), str) else f"'{name}'"


def _read_description(mistakes: Mistakes) -> str | None:
    text = mistakes.document.data.get("description")
    if text is not None and not isinstance(text, str):
        mistakes.at(("description",), "description", f"must be text, got {describe(text)}")
        return None
    return text


def _read_method(mistakes: Mistakes) -> tuple[int | None, int]:
    """The number of draws (None: a grid) and the seed of the draws."""
    document = mistakes.document
    method, path = document.nearest("method") or ("grid", ())
    if method == "bayes":
        mistakes.at(path, "method", BAYES)
    elif method not in ("grid", "random"):
        what = f"must be grid or random, got {describe(method)}{did_you_mean(method, ('grid', 'random'))}"
        mistakes.at(path, "method", what)
    cap = _count("run_cap", 1, MAX_RUNS, mistakes)
    seed = _count("random_seed", 0, 2**63 - 1, mistakes)
    if method == "grid":
        if seed is not None:
            place = (document.nearest("random_seed") or (None, ()))[1]
            mistakes.at(place, "random_seed", "has no effect with method grid; leave it out, or write method: random")
        if cap is not None:
            mistakes.note("run_cap has no effect with method grid: all runs of the grid are trained")
    if method != "random":
        return None, 0
    if not _sweeps(mistakes):
        mistakes.at(path, "method", "random draws from `parameters` or `zip`, and there is nothing below them")
    if document.nearest("run_cap") is None:
        mistakes.at(path, "run_cap", "method random needs run_cap, the number of draws in each arm")
    wrong = any(document.nearest(key) and value is None for key, value in (("run_cap", cap), ("random_seed", seed)))
    return 0 if wrong else cap or 1, seed or 0


def _count(key: str, least: int, most: int, mistakes: Mistakes) -> int | None:
    """A whole number of the top level; None where there is none, or a wrong one, which is reported."""
    found = mistakes.document.nearest(key)
    if found is None:
        return None
    value, path = found
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    mistakes.at(path, key, f"must be a whole number from {least} to {most:,}, got {describe(value)}")
    return None


def _sweeps(mistakes: Mistakes) -> bool:
    """Whether there is something to draw from."""
    levels = [data for _, data in mistakes.document.levels()]
    arms = [data["arms"] for data in levels if isinstance(data.get("arms"), dict)]
    nodes = [*levels, *(arm for named in arms for arm in named.values() if isinstance(arm, dict))]
    return any(node.get("parameters") or node.get("zip") for node in nodes)
