"""What a run keeps of the one that it starts from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """With a run's own spec all that decides its trajectory."""

    digest: str  # SHA-256 (hex) of the parent's parameters and optimizer state at the step that the run starts from
    prior_steps: int  # steps that the run's optimizer has behind it at step 0; 0 where it was reset
    lineage: tuple[str, ...]  # RUN@STEP from the oldest ancestor to the parent
