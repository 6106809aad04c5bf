"""`did you mean`: only for what can be a slip of the hand. A hint that leads to another meaning is worse than none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

LONG = 8  # letters of a part from which two slips are allowed


def did_you_mean(word: Any, options: Iterable[str]) -> str:
    """' (did you mean x?)' if an option is the word but for a slip, else ''."""
    found = nearest(word, options)
    return f" (did you mean {found}?)" if found else ""


def nearest(word: Any, options: Iterable[str]) -> str | None:
    """The option that the word is, but for a slip: of several the one with the fewest, then with the fewest parts."""
    counted = [(slips, option) for option in options if (slips := _slips(str(word)[:100], option)) is not None]
    return min(counted, key=lambda pair: (pair[0], len(_parts(pair[1]))))[1] if counted else None


def _slips(word: str, option: str) -> int | None:
    """How many slips lead from an option to a word; None: it is another word.

    Case and separators do not count, `weight_decay` may be `weightdecay` and may stand for `optimizer.weight_decay`.
    """
    ours, theirs = _parts(option), _parts(word)
    if not ours or not theirs:
        return None
    if "".join(ours) == "".join(theirs):
        return 0
    if len(theirs) > len(ours) or (len(theirs) < len(ours) and "." not in option):
        return None
    slips = [_part_slips(a, b) for a, b in zip(theirs, ours[-len(theirs) :], strict=True)]
    return None if None in slips else sum(each or 0 for each in slips)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[^a-z0-9]+", text.lower()) if part]


def _part_slips(word: str, option: str) -> int | None:
    """Slips between two parts, which begin alike; short ones hold the same digits, and very short ones are exact."""
    if word == option:
        return 0
    if re.sub(r"(.)\1+", r"\1", word) == re.sub(r"(.)\1+", r"\1", option):
        return 1
    digits = [re.sub(r"[^0-9]", "", text) for text in (word, option)]
    short = max(len(word), len(option)) < LONG
    if word[0] != option[0] or (short and digits[0] != digits[1]) or min(len(word), len(option)) < 3:
        return None
    slips = _distance(word, option)
    return slips if slips <= (1 if short else 2) else None


def _distance(a: str, b: str) -> int:
    """Letters left out, put in, changed, or swapped with the next one (optimal string alignment)."""
    rows = [list(range(len(b) + 1))]
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            least = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                least = min(least, rows[-2][j - 2] + 1)
            row.append(least)
        rows.append(row)
    return rows[-1][-1]
