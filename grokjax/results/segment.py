"""What the engine hands over after each segment: rows of records, and the runs that ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class End:
    """How a run ended: its last step, and the matrix that went first if it diverged there."""

    run_id: str
    step: int
    diverged: bool
    matrix: str | None


@dataclass(frozen=True)
class Rows:
    """Records of several runs, one row each. `recorded` tells null from a value, where some are null."""

    run: np.ndarray  # [rows] int32, of the segment's run_ids
    step: np.ndarray  # [rows] int32
    metrics: dict[str, np.ndarray]  # name -> [rows] float32
    recorded: dict[str, np.ndarray]  # name -> [rows] bool; a metric not named is recorded everywhere


@dataclass(frozen=True)
class Segment:
    """One segment of a chunk."""

    chunk: int
    index: int
    run_ids: tuple[str, ...]  # of the chunk
    rows: Rows
    ends: tuple[End, ...]
    run_steps: int  # steps that trained a run
    lane_steps: int  # steps that lanes took, whether a run was in them or not
