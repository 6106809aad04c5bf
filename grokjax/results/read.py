"""Reading a results directory: runs, curves, events and parameters."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grokjax.results.chunks import KEYS, ended_of, ends_of, meta_in, metrics_of, steps_taken, while_it_trains
from grokjax.results.continued import continued
from grokjax.results.files import Damaged, read_sealed
from grokjax.results.frames import plain_memory, to_pandas
from grokjax.results.layout import chunk_of, curves_files
from grokjax.results.manifest import Manifest, read_manifest
from grokjax.results.metric_names import checked_metrics
from grokjax.results.planned import constants_of, planned_runs, prior_steps_of
from grokjax.results.run_ids import whole_run_id
from grokjax.results.snapshots import StoredSnapshot, read_header, read_row, replay_rows, snapshot_rows

if TYPE_CHECKING:
    from grokjax.results.network import StoredNetwork

EMPTY = np.zeros(0)
NEVER = 2**62  # a step that no run comes to
Found = tuple[pd.DataFrame, pd.DataFrame] | tuple[pa.Table, pa.Table]  # runs and events
Derive = Callable[["Results"], Found]
HEAD = ("run_id", "arm", "arms", "seed")  # columns of runs() that come first


@dataclass(frozen=True)
class Views:
    """How results are summed up and shown; the rooms that know this are below this one, and supply it."""

    summary: Callable[..., pd.DataFrame]  # of (results, by)
    dataset: Callable[..., Any]  # of (results, metrics)
    html: Callable[[Results], str]


class Results:
    """A results directory. Cheap to open; every call reads what is there at that moment.

    derive: finds (runs, events) in the curves. views: see `Views`. `grokjax.open_results` supplies both.
    """

    def __init__(self, path: str | Path, derive: Derive, manifest: Manifest | None = None, views: Views | None = None):
        self.path = Path(path)
        self.manifest = read_manifest(self.path) if manifest is None else manifest
        self._derive = derive
        self._views = views

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r}: {len(self.manifest.runs)} runs of {self.manifest.name})"

    def _repr_html_(self) -> str | None:
        """What was swept and what the runs came to, with a picture, in a notebook."""
        return self._views.html(self) if self._views else None

    def runs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a run: run_id, arm, arms, seed; the values that differ between runs, by their dotted keys
        (optimizer.lr, ...); lineage (the runs it was forked from, as RUN@STEP, the oldest first), batch_size (examples
        of a step, also where train.batch is null), status, last_step, outcome, fit_step, generalization_step, delay,
        slingshots, final/<metric>; then the values that all runs share, which `constants` has too.

        columns: only these, which of a million runs is quicker.
        """
        runs = self._derived(0, columns)
        order = in_order(runs.columns, self.constants()) if columns is None else list(columns)
        return runs if order == list(runs) else runs[order]

    def constants(self) -> dict[str, Any]:
        """Values that all runs share, by their dotted keys."""
        return constants_of(self.manifest)

    def summary(self, by: str | Sequence[str] | None = None) -> pd.DataFrame:
        """What the runs of each cell came to: how many of them did what, and censored medians with their intervals.

        A data frame whose `to_markdown()` and `to_latex()` need no further package. by: keys that tell the cells apart;
        default: the arms and their axes but the seeds. See `grokjax.analysis.cell_summary.summarize`.
        """
        return self._views_or_raise().summary(self, by)

    def dataset(self, metrics: str | Iterable[str] | None = None) -> Any:
        """Curves as an xarray Dataset, run x step; see `grokjax.analysis.dataset`. Needs the package xarray."""
        return self._views_or_raise().dataset(self, metrics)

    def _views_or_raise(self) -> Views:
        if self._views is None:
            raise TypeError("these results have no views: open them with grokjax.open_results")
        return self._views

    def events(self) -> pd.DataFrame:
        """One row an event: run_id, kind, step, value, norm_jump, matrix."""
        return self._derived(1)

    def _derived(self, which: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """which: 0, runs; 1, events."""
        try:
            found = self._derive(self)[which]
        except Exception:
            _ = self.manifest.plan  # where the plan has values that cannot be, that is said instead
            raise
        if isinstance(found, pd.DataFrame):
            return found if columns is None else found[list(columns)]
        with plain_memory():
            return to_pandas(found if columns is None else found.select(columns))

    def curves(
        self, metrics: str | Iterable[str] | None = None, runs: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """run_id, step, and one float32 column a metric, by run and step; None is all.

        Not recorded is nan; rows where none of the metrics was recorded are left out.
        Raises ValueError for an unknown metric or run.
        """
        return self.curves_table(metrics, runs).to_pandas()

    def curves_table(
        self, metrics: str | Iterable[str] | None = None, runs: str | Iterable[str] | None = None
    ) -> pa.Table:
        """As `curves`, as an Arrow table, in which what was not recorded is null."""
        run_ids = self.whole_run_ids(runs)
        names = self._check_metrics(metrics)
        tables = while_it_trains(lambda: self._tables(run_ids, names))
        if not tables:
            empty: dict[str, Any] = {"run_id": pa.array([], pa.string()), "step": pa.array([], pa.int64())}
            return pa.table(empty | {name: pa.array([], pa.float32()) for name in names})
        table = pa.concat_tables(tables, promote_options="default")
        order = {run_id: position for position, run_id in enumerate(self.run_ids)}
        position = np.fromiter((order[run_id] for run_id in table["run_id"].to_pylist()), np.int64, len(table))
        return table.take(np.lexsort((table["step"].to_numpy(), position)))

    def _tables(self, run_ids: list[str], names: list[str]) -> list[pa.Table]:
        pieces = self._pieces(run_ids)
        files = curves_files(self.path, {self.manifest.chunk_of[run_id] for run_id in pieces})
        return [table for path in files for table in self._read(path, names, pieces)]

    def _pieces(self, run_ids: list[str]) -> dict[str, list[tuple[str, int | None]]]:
        """stored run -> the runs that its rows are of, and below which step: a run that was given more steps goes on
        with the rows of the one it continues."""
        pieces: dict[str, list[tuple[str, int | None]]] = {}
        earlier = continued(self.path, self.manifest)
        for run_id in run_ids:
            for stored, below in _back(run_id, earlier):
                pieces.setdefault(stored, []).append((run_id, below))
        return pieces

    def _read(
        self, path: Path, names: list[str], pieces: dict[str, list[tuple[str, int | None]]]
    ) -> Iterator[pa.Table]:
        data = read_sealed(path)
        recorded_here = meta_in(path, data)["metrics"]
        columns = [name for name in names if name in recorded_here]
        try:
            table = pq.read_table(pa.BufferReader(data), columns=[*KEYS, *columns]).replace_schema_metadata(None)
            ids = table["run_id"].cast(pa.string())
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Damaged(path, f"it cannot be read: {error}") from None
        self._check_owners(path, pc.unique(ids).to_pylist())  # pyright: ignore[reportAttributeAccessIssue]
        table = table.set_column(0, "run_id", ids)
        if not columns:
            return
        recorded = np.any([table[name].is_valid().to_numpy() for name in columns], axis=0)
        whole = pc.is_in(ids, pa.array([run_id for run_id, of in pieces.items() if (run_id, None) in of], pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
        yield table.filter(pa.array(recorded & whole.to_numpy()))
        for stored in pieces.keys() & set(pc.unique(ids).to_pylist()):  # pyright: ignore[reportAttributeAccessIssue]
            for run_id, below in pieces[stored]:
                if below is not None:
                    is_earlier = (ids.to_numpy() == stored) & (table["step"].to_numpy() < below)
                    part = table.filter(pa.array(recorded & is_earlier))
                    yield part.set_column(0, "run_id", pa.array([run_id] * len(part), pa.string()))

    def _check_owners(self, path: Path, run_ids: Iterable[str | None]) -> None:
        """Raises Damaged where a file holds runs that are not of its chunk: it is another directory's."""
        chunks = self.manifest.chunks
        members = set(chunks[chunk_of(path)].run_ids) if chunk_of(path) < len(chunks) else set()
        if not members.issuperset(run_ids):
            raise Damaged(path, "it holds runs that are not of its chunk: it is of another results directory")

    def metrics(self) -> list[str]:
        """Names of all recorded metrics, in the order of the files."""
        return metrics_of(self.path)

    def whole_run_ids(self, runs: str | Iterable[str] | None = None) -> list[str]:
        """Run ids in full; None is all runs. A run may be named by the beginning of its id, 4 characters or more, where
        no other run begins so: wherever a run is asked for. Raises ValueError, with the runs that could be meant."""
        if runs is None:
            return self.run_ids
        given = [runs] if isinstance(runs, str) else runs
        return [whole_run_id(run_id, self.manifest.chunk_of, self.path) for run_id in given]

    def params(self, run_id: str, step: int | None = None) -> dict[str, np.ndarray]:
        """Parameters of a run by name; None is the end. Raises ValueError where none are kept."""
        row, shapes = self.snapshot(run_id, step), self._shapes(run_id)
        state = read_row(row)
        if any(state.get(f"params/{name}", EMPTY).shape != tuple(shape) for name, shape in shapes.items()):
            raise Damaged(row.path, f"the parameters of run {run_id} in it are not those of its model")
        return {name: state[f"params/{name}"] for name in shapes}

    def network(self, run_id: str, step: int | None = None) -> StoredNetwork:
        """A run's network at a step with a snapshot, None is the end: its logits and its activations on any tokens.

        Runs the user's file of families, and says so, where the sweep has one. Raises ValueError where no parameters of
        that step are kept.
        """
        from grokjax.results.network import stored_network  # needs JAX, which reading results does not

        (run_id,) = self.whole_run_ids(run_id)
        return stored_network(self, run_id, step)

    def snapshot(self, run_id: str, step: int | None = None) -> StoredSnapshot:
        """Where the parameters and optimizer state of a run at a step are kept; None is the end."""
        (run_id,) = self.whole_run_ids(run_id)
        rows = self.snapshots(run_id)
        if step is None:
            end = self.ends.get(run_id)
            if end is None:
                raise ValueError(f"run {run_id} has not ended yet, so it has no final parameters")
            step = int(end["step"])
        if step not in rows:
            nearest = sorted(sorted(rows, key=lambda stored: abs(stored - step))[:6])
            has = f"snapshots at step {', '.join(map(str, nearest))}" if nearest else "no snapshots yet"
            more = f" (of {len(rows)})" if len(rows) > len(nearest) else ""
            raise ValueError(
                f"run {run_id} has {has}{more}, none at {step}; "
                f"make it with: grokjax replay {shlex.quote(str(self.path))} {run_id} --from {step} --to {step}"
            )
        return rows[step]

    def snapshots(self, run_id: str, replays: bool = True) -> dict[int, StoredSnapshot]:
        """step -> where the run's snapshot is, by step: those taken in training, and those that replays made."""
        (run_id,) = self.whole_run_ids(run_id)
        return while_it_trains(lambda: self._snapshots(run_id, replays))

    def _snapshots(self, run_id: str, replays: bool) -> dict[int, StoredSnapshot]:
        snapshots: dict[int, StoredSnapshot] = {}
        for stored, below in _back(run_id, continued(self.path, self.manifest)):
            replayed = replay_rows(self.path, stored) if replays else {}
            trained = snapshot_rows(self.path, self.manifest.chunk_of[stored])
            for path in {row.path for row in trained.values()}:
                self._check_owners(path, (row.run_id for row in read_header(path).rows))
            rows = replayed | trained
            of_run = {step: row for (of, step), row in rows.items() if of == stored}
            snapshots = {step: row for step, row in of_run.items() if below is None or step <= below} | snapshots
        return dict(sorted(snapshots.items()))

    def phases(self, run_id: str) -> list[tuple[str, int, int]]:
        """(run, first step, step below which it counts) of a run and the shorter ones it goes on from, as stored, the
        oldest first."""
        (run_id,) = self.whole_run_ids(run_id)
        back = list(_back(run_id, continued(self.path, self.manifest)))
        firsts = [*(below for _, below in back[1:]), 0]
        return [
            (stored, first or 0, NEVER if below is None else below)
            for (stored, below), first in zip(back, firsts, strict=True)
        ][::-1]

    @property
    def run_ids(self) -> list[str]:
        return list(self.manifest.run_ids)

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        """run id -> step, diverged, matrix, of the runs that have ended."""
        return self._ends(None)

    def ends_of(self, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The same of some runs and those trained with them: of no other is a record looked at."""
        return self._ends(self.manifest.chunks_with(run_ids))

    def _ends(self, chunks: Collection[int] | None) -> dict[str, dict[str, Any]]:
        return {
            run_id: end
            for chunk, of_chunk in ends_of(self.path, chunks).items()
            for run_id, end in of_chunk.items()
            if self.manifest.chunk_of.get(run_id) == chunk
        }

    @property
    def prior_steps(self) -> dict[str, int]:
        """run id -> steps that its optimizer had behind it at step 0, of forked runs."""
        return prior_steps_of(self.manifest)

    def steps_taken(self) -> tuple[int, int]:
        """(run-steps, lane-steps) so far: their quotient is the utilization of the lanes."""
        return steps_taken(self.path)

    def planned(self) -> pd.DataFrame:
        """One row a run with what is known without its curves: run_id, arm, arms, resolved values, lineage, batch_size,
        status."""
        with plain_memory():
            return planned_runs(self.manifest, ended_of(self.path, self.manifest.chunks_with(None)))

    def parameters(self, run_id: str) -> list[str]:
        """Names of a run's parameters, from the input to the logits."""
        return list(self._shapes(run_id))

    def _shapes(self, run_id: str) -> dict[str, tuple[int, ...]]:
        (run_id,) = self.whole_run_ids(run_id)
        return self.manifest.bucket_of(run_id).parameters

    def _check_metrics(self, metrics: str | Iterable[str] | None) -> list[str]:
        recorded = self.metrics()
        return recorded if metrics is None else checked_metrics(metrics, recorded, self.path)


def in_order(columns: Iterable[str], constants: Collection[str]) -> list[str]:
    """Columns of `Results.runs()` as it has them: what differs between runs before what all share."""
    others = [name for name in columns if name not in HEAD]
    return [*HEAD, *sorted(others, key=lambda name: name in constants)]


def _back(run_id: str, earlier: dict[str, StoredSnapshot]) -> Iterator[tuple[str, int | None]]:
    """A run, and those that it goes on from: each with the step below which its rows count."""
    below = None
    yield run_id, below
    while run_id in earlier:
        run_id, below = earlier[run_id].run_id, earlier[run_id].step
        yield run_id, below
