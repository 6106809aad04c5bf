"""What a results directory holds, for other tools: tables, and networks for TransformerLens."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import csv
from safetensors.numpy import save

from grokjax.results.files import write_view
from grokjax.results.frames import to_arrow
from grokjax.results.network import StoredNetwork
from grokjax.results.read import Results

TABLES = ("curves", "runs", "events")
READ = """\
import json
from safetensors import safe_open
with safe_open({path!r}, framework="pt") as file:
    config, state = json.loads(file.metadata()["config"]), {{name: file.get_tensor(name) for name in file.keys()}}

"""
RECIPES = {
    "TransformerLens 2 and 3": READ
    + """\
from transformer_lens import HookedTransformer, HookedTransformerConfig
model = HookedTransformer(HookedTransformerConfig(**config))
model.load_state_dict(state)
""",
    "TransformerLens 4": READ
    + """\
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint
config = TransformerBridgeConfig(**config)
model = TransformerBridge.boot_native(config)
model.load_state_dict(convert_tl_checkpoint(state, config))
""",
}


def export_table(
    results: Results,
    table: str,
    out: Path | None,
    format: str | None,
    metrics: list[str] | None,
    runs: list[str] | None = None,
) -> Path:
    """Write curves, runs or events as CSV or Parquet. Raises ValueError for an unknown table, format, metric or run."""
    ending = out.suffix.lstrip(".") if out else ""
    format = format or (ending if ending in ("csv", "parquet") else "csv")
    if format not in ("csv", "parquet"):
        raise ValueError(f"format must be csv or parquet, got {format!r}")
    if out and ending in ("csv", "parquet") and ending != format:
        raise ValueError(f"{out} ends in .{ending}, and --format is {format}: leave one out")
    if table not in TABLES:
        raise ValueError(f"table must be {', '.join(TABLES[:-1])} or {TABLES[-1]}, got {table!r}")
    if metrics and table != "curves":
        raise ValueError("--metric chooses among curves only")
    if table == "curves":
        data = results.curves_table(metrics, runs)
    else:
        rows = results.runs() if table == "runs" else results.events()
        data = to_arrow(rows[rows["run_id"].isin(results.whole_run_ids(runs))], lists=format == "parquet")
    path = out or results.path / f"{table}-export.{format}"
    write = csv.write_csv if format == "csv" else pq.write_table
    write_view(path, lambda temporary: write(data, temporary))
    return path


def export_network(network: StoredNetwork, path: Path) -> None:
    """Write a network for TransformerLens: its state dict as safetensors, with its config as JSON in the metadata.
    Raises ValueError for a network that TransformerLens cannot express."""
    config, state = network.to_transformer_lens()
    data = save(state, {"config": json.dumps(config)})
    write_view(path, lambda temporary: temporary.write_bytes(data))


def how_to_load(path: Path) -> str:
    """Lines of Python that load what `export_network` wrote, by TransformerLens's version."""
    parts = [f"{versions}:\n\n{recipe.format(path=str(path))}" for versions, recipe in RECIPES.items()]
    return "\n".join(parts).rstrip()
