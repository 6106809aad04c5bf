"""Counts in words, as all that is shown to people has them."""

from __future__ import annotations

from collections.abc import Collection


def count_text(number: int, what: str) -> str:
    """`1 run`, `1,200 runs`"""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def span(numbers: Collection[int]) -> str:
    """`3`, or `3 to 1,500`"""
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
