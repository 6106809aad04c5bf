"""Reading a results directory: runs, curves, events and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import safe_open

from grokjax.results.files import chunk_of, curves_files, snapshot_file
from grokjax.results.manifest import read_manifest
from grokjax.results.write import ends_of, steps_of
from grokjax.sweep.load import did_you_mean

KEYS = ("run_id", "step")
Derive = Callable[["Results"], tuple[pd.DataFrame, pd.DataFrame]]


class Results:
    """A results directory. Cheap to open; every call reads what is there at that moment.

    derive: finds (runs, events) in the curves; `grokjax.open_results` supplies it.
    """

    def __init__(self, path: str | Path, derive: Derive):
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self._derive = derive

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r}: {len(self.manifest['runs'])} runs of {self.manifest['name']})"

    def runs(self) -> pd.DataFrame:
        """One row a run: run_id, arm, arms, every resolved value by its dotted key (seed, optimizer.lr, ...),
        status, outcome, fit_step, generalization_step, delay, slingshots, final/<metric>."""
        return self._derive(self)[0]

    def events(self) -> pd.DataFrame:
        """One row an event: run_id, kind, step, value, norm_jump, matrix."""
        return self._derive(self)[1]

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
        wanted = self._check_runs(runs)
        chunks = None if wanted is None else {self._chunk[run_id] for run_id in wanted}
        files = [path for path in curves_files(self.path) if chunks is None or chunk_of(path) in chunks]
        names = self._check_metrics(metrics)
        tables = [self._read(path, names, wanted) for path in files]
        if not tables:
            empty: dict[str, Any] = {"run_id": pa.array([], pa.string()), "step": pa.array([], pa.int64())}
            return pa.table(empty | {name: pa.array([], pa.float32()) for name in names})
        table = pa.concat_tables(tables, promote_options="default")
        order = {run_id: place for place, run_id in enumerate(self.run_ids)}
        place = np.fromiter((order[run_id] for run_id in table["run_id"].to_pylist()), np.int64, len(table))
        return table.take(np.lexsort((table["step"].to_numpy(), place)))

    def _read(self, path: Path, names: list[str], wanted: list[str] | None) -> pa.Table:
        there = pq.read_schema(path).names
        table = pq.read_table(
            path, columns=[*KEYS, *(name for name in names if name in there)], page_checksum_verification=True
        )
        table = table.set_column(0, "run_id", table["run_id"].cast(pa.string())).replace_schema_metadata(None)
        if wanted is not None:
            table = table.filter(pc.is_in(table["run_id"], pa.array(wanted, pa.string())))  # pyright: ignore[reportAttributeAccessIssue]
        columns = table.column_names[len(KEYS) :]
        if not columns:
            return table.slice(0, 0)
        recorded = np.any([table[name].is_valid().to_numpy() for name in columns], axis=0)
        return table.filter(pa.array(recorded))

    def metrics(self) -> list[str]:
        """Names of all recorded metrics, in the order of the files."""
        names: dict[str, None] = {}
        for schema in {tuple(pq.read_schema(path).names) for path in curves_files(self.path)}:
            names |= dict.fromkeys(schema)
        return [name for name in names if name not in KEYS]

    def params(self, run_id: str, step: int | None = None) -> dict[str, np.ndarray]:
        """Parameters of a run by name; None is the end. Raises ValueError where none are kept."""
        self._check_runs([run_id])
        end = self.ends.get(run_id)
        if end is None:
            raise ValueError(f"run {run_id} has not ended yet, so it has no final parameters")
        if step not in (None, end["step"]):
            raise ValueError(f"run {run_id} keeps its parameters at step {end['step']} only, not at {step}")
        path = snapshot_file(self.path, self._chunk[run_id], end["segment"])
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(f"{run_id}/{name}") for name in self.parameters(run_id)}

    @property
    def run_ids(self) -> list[str]:
        return list(self._chunk)

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        """run id -> step, diverged, matrix, segment, of the runs that have ended."""
        return {run_id: end for chunk in ends_of(self.path).values() for run_id, end in chunk.items()}

    def steps_taken(self) -> tuple[int, int]:
        """(run-steps, lane-steps) so far: their quotient is the utilization of the lanes."""
        return steps_of(self.path)

    def planned(self) -> pd.DataFrame:
        """One row a run with what is known without its curves: run_id, arm, arms, resolved values, status."""
        ends = ends_of(self.path)
        rows = []
        keys = self.manifest["keys"]
        for run in self.manifest["runs"]:
            end = ends.get(run["chunk"], {}).get(run["run_id"])
            status = "running" if run["chunk"] in ends else "planned"
            if end:
                status = "diverged" if end["diverged"] else "ended"
            head = {"run_id": run["run_id"], "arm": run["arms"][0], "arms": run["arms"]}
            values = self.manifest["common"] | run["values"]
            rows.append(head | {key: values.get(key) for key in keys} | {"status": status})
        return pd.DataFrame(rows)

    def parameters(self, run_id: str) -> list[str]:
        """Names of a run's parameters, from the input to the logits."""
        return list(self.manifest["buckets"][self.manifest["chunks"][self._chunk[run_id]]]["parameters"])

    @cached_property
    def _chunk(self) -> dict[str, int]:
        return {run["run_id"]: run["chunk"] for run in self.manifest["runs"]}

    def _check_runs(self, runs: str | Iterable[str] | None) -> list[str] | None:
        if runs is None:
            return None
        wanted = [runs] if isinstance(runs, str) else list(runs)
        for run_id in wanted:
            if run_id not in self._chunk:
                raise ValueError(f"no run {run_id!r} in {self.path}{did_you_mean(run_id, self._chunk)}")
        return wanted

    def _check_metrics(self, metrics: str | Iterable[str] | None) -> list[str]:
        known = self.metrics()
        if metrics is None:
            return known
        wanted = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
        for name in wanted:
            if name not in known and known:
                shown = ", ".join(known[:5])
                hint = did_you_mean(name, known) or f"; there are {len(known)}, for instance {shown}"
                raise ValueError(f"no metric {name!r} in {self.path}{hint}")
        return wanted
