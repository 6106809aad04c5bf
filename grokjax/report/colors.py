"""Colors of lines and bars that can be seen on light and on dark paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Colormap, to_hex, to_rgb
from numpy.typing import ArrayLike

PAPERS = ("#ffffff", "#15181b")  # of the light and of the dark page
LEAST_CONTRAST = 3.0  # of lines and bars on their paper (WCAG 2.2, 1.4.11)
Pair = tuple[str, str]  # on light paper, on dark paper


def contrast(color: ArrayLike, paper: ArrayLike) -> float:
    """From 1 (equal) to 21, as in WCAG 2.2; colors as Matplotlib knows them."""
    lights = sorted((_luminance(color), _luminance(paper)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(color: ArrayLike) -> float:
    share = np.asarray(to_rgb(color))  # pyright: ignore[reportArgumentType]
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def legible(color: str) -> Pair:
    """A color for each paper: mixed with black or white just so far that it has the least contrast."""
    return _legible(color, PAPERS[0]), _legible(color, PAPERS[1])


def _legible(color: str, paper: str) -> str:
    ink = 0.0 if _luminance(paper) > 0.5 else 1.0
    shares = np.linspace(0, 1, 101)
    mixed = (to_hex((1 - share) * np.asarray(to_rgb(color)) + share * ink) for share in shares)
    return next(each for each in mixed if contrast(each, paper) >= LEAST_CONTRAST)


def along(scale: Colormap, count: int) -> Sequence[Pair]:
    """So many colors along a scale, evenly spaced over the part of it that has the least contrast on each paper."""
    places = np.linspace(0, 1, 256)
    columns = []
    for paper in PAPERS:
        seen = [place for place in places if contrast(to_hex(scale(place)), paper) >= LEAST_CONTRAST]
        columns.append([to_hex(scale(place)) for place in np.linspace(seen[0], seen[-1], count)])
    return list(zip(*columns, strict=True))
