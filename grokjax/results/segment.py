"""What the engine hands over after each segment: rows of records, runs that ended, and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
class Snapshots:
    """All that continues of several runs, one row each.

    state: `params/W_E`, `opt/mu/W_E`, `opt/count`, `radius/...` -> [rows, ...]. The rest are numbers of the run: its
    last step as known then, evaluations at or over the threshold in a row, whether it is finite, and the largest train
    loss since its last record.
    """

    run_ids: tuple[str, ...]
    step: np.ndarray
    end: np.ndarray
    held: np.ndarray
    finite: np.ndarray
    loss_max: np.ndarray
    state: dict[str, np.ndarray]


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
    snapshots: tuple[Snapshots, ...] = ()  # of the runs that ended, and of those at a step where one is kept


@dataclass(frozen=True)
class Stored:
    """A snapshot that a run starts from. how: its parameters only (`params`), its optimizer state too (`keep`), or all
    of it, at the step where it was (`continue`)."""

    how: Literal["params", "keep", "continue"]
    flat: dict[str, np.ndarray]  # as in Snapshots.state, and its numbers; `steps`: those of the run it is of
