"""Runs that are given more steps: which snapshot of the shorter run each goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grokjax.results.chunks import ends_of
from grokjax.results.manifest import Manifest
from grokjax.results.snapshots import StoredSnapshot, snapshot_rows


def continued(out: Path, manifest: Manifest) -> dict[str, StoredSnapshot]:
    """run id -> the newest snapshot of the earlier run from which it trains as if that had never ended. Runs whose
    earlier one has not ended yet, or has no such snapshot, are left out: the latter begin at step 0.

    Evaluations fall on rounds, so the snapshot must lie on one, or be the end of a run that its stop rule ended, or
    that diverged: that run has ended for good. A stop rule that was at work but cut short must be seen anew.
    """
    if not manifest.continues:
        return {}
    ends = {run_id: end for of in ends_of(out).values() for run_id, end in of.items()}
    rows: dict[str, list[StoredSnapshot]] = {}
    for index in {manifest.chunk_of[earlier] for earlier in manifest.continues.values()}:
        for row in snapshot_rows(out, index).values():
            rows.setdefault(row.run_id, []).append(row)
    newest = {}
    for run_id, earlier in manifest.continues.items():
        round = manifest.bucket_of(run_id).schedule.round
        values = manifest.every_run[earlier].values
        usable = [row for row in rows.get(earlier, []) if _is_usable(row, ends.get(earlier), values, round)]
        if usable:
            newest[run_id] = max(usable, key=lambda row: row.step)
    return newest


def _is_usable(row: StoredSnapshot, end: dict[str, Any] | None, values: dict[str, Any], round: int) -> bool:
    if end is None:
        return False
    for_good = row.step == end["step"] and (end["diverged"] or end["step"] < values["train.steps"])
    stopping = values["stop.after_generalization"] is not None and row.held >= values["events.hold"]
    return for_good or (row.step % round == 0 and not stopping)
