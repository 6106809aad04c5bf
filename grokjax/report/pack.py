"""Numbers in few characters: curves as 16-bit integers between their least and largest value, in base64.

The error is at most 1/131,064 of that range (of its decades, where the scale is logarithmic): less than a pixel.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

MISSING, ZERO, INFINITE = -32768, -32767, 32767  # not recorded; 0 or less on a logarithmic scale; +inf
LARGEST = 32766


@dataclass
class StepLists:
    """Lists of steps, each kept once: most runs of a sweep are recorded at the same ones.

    dtype: of the numbers in the texts; of epochs <f4.
    """

    dtype: str = "<u4"
    texts: list[str] = field(default_factory=list)
    _place: dict[str, int] = field(default_factory=dict)

    def add(self, steps: ArrayLike) -> int:
        """The place of a list of steps among `texts`."""
        text = base64.b64encode(np.asarray(steps, self.dtype).tobytes()).decode()
        if text not in self._place:
            self._place[text] = len(self.texts)
            self.texts.append(text)
        return self._place[text]


def pack(curves: list[np.ndarray], log: bool, grain: int = 1) -> tuple[float, float, str]:
    """Curves on one common scale, one after the other: (least, largest, codes). With log, of their log10.

    grain: codes are multiples of it, which compress better and are as much coarser.
    """
    values = np.concatenate([np.asarray(curve, np.float64) for curve in curves])
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log10(values) if log else values
    is_finite = np.isfinite(scaled)
    low, high = 0.0, 1.0
    if is_finite.any():
        low, high = float(scaled[is_finite].min()), float(scaled[is_finite].max())
    span = high - low or 1.0
    codes = np.full(len(values), MISSING, np.int64)
    grains = np.rint((scaled[is_finite] - low) / span * (2 * LARGEST // grain)).astype(np.int64)
    codes[is_finite] = grains * grain - LARGEST
    codes[np.isposinf(values)] = INFINITE
    if log:
        codes[values <= 0] = ZERO
    high = low + span * 2 * LARGEST / (2 * LARGEST // grain * grain)  # what the largest code of all would be
    return low, high, base64.b64encode(codes.astype("<i2").tobytes()).decode()
