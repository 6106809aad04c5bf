"""Numbers and counts in words, as all that is shown to people has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def count_text(number: int, what: str) -> str:
    """`1 run`, `1,200 runs`"""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some_of(names: Sequence[str], most: int) -> str:
    """`a, b, ...`"""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def span(numbers: Collection[int]) -> str:
    """`3`, or `3 to 1,500`"""
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def number_text(value: float) -> str:
    """Up to four digits, exponents without padding."""
    if value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    mantissa, exponent, power = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa
