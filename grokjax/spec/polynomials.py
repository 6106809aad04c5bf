"""Polynomials in x and y with integer coefficients, as a sweep writes them: `x^3 + x*y^2 + y`."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

Polynomial = dict[tuple[int, int], int]  # (power of x, power of y) -> coefficient
MOST_POWER = 64
POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


@lru_cache(maxsize=256)
def parse_polynomial(text: str) -> Polynomial:
    """The terms of a polynomial. Raises ValueError for other text."""
    written = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "^" + found[0].translate(POWERS), text)
    written = written.replace("·", "*").replace("−", "-").replace("^", "**")
    if len(written) > 1000:
        raise ValueError("it is too long")
    try:
        terms = _terms(ast.parse(written.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("it cannot be read") from None
    return {powers: factor for powers, factor in terms.items() if factor}


def _terms(node: ast.expr) -> Polynomial:
    match node:
        case ast.Name("x"):
            return {(1, 0): 1}
        case ast.Name("y"):
            return {(0, 1): 1}
        case ast.Constant(int(value)) if not isinstance(value, bool) and abs(value) < 2**31:
            return {(0, 0): value}
        case ast.UnaryOp(ast.USub(), operand):
            return {powers: -factor for powers, factor in _terms(operand).items()}
        case ast.UnaryOp(ast.UAdd(), operand):
            return _terms(operand)
        case ast.BinOp(left, ast.Add(), right):
            return _sum(_terms(left), _terms(right))
        case ast.BinOp(left, ast.Sub(), right):
            return _sum(_terms(left), {powers: -factor for powers, factor in _terms(right).items()})
        case ast.BinOp(left, ast.Mult(), right):
            return _product(_terms(left), _terms(right))
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(power))) if 0 <= power <= MOST_POWER:
            result: Polynomial = {(0, 0): 1}
            for _ in range(power):
                result = _product(result, _terms(left))
            return result
    raise ValueError("it has something other than x, y, whole numbers, + - * and ^")


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    return {powers: left.get(powers, 0) + right.get(powers, 0) for powers in {**left, **right}}


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for (a, b), factor in left.items():
        for (c, d), other in right.items():
            powers = (a + c, b + d)
            if max(powers) > MOST_POWER:
                raise ValueError(f"it has a power over {MOST_POWER}")
            result[powers] = result.get(powers, 0) + factor * other
    return result


def polynomial_text(polynomial: Polynomial) -> str:
    """One text for equal polynomials, the highest powers first: `x^2 + x*y + y^2`."""
    terms = ""
    for a, b in sorted(polynomial, key=lambda powers: (-sum(powers), -powers[0])):
        factor = polynomial[a, b]
        parts = [str(abs(factor))] if abs(factor) != 1 or (a, b) == (0, 0) else []
        parts += [name if power == 1 else f"{name}^{power}" for name, power in (("x", a), ("y", b)) if power]
        sign = ("-" if factor < 0 else "") if not terms else (" - " if factor < 0 else " + ")
        terms += sign + "*".join(parts)
    return terms or "0"
