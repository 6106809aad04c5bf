"""Records what grokjax does now, as golden data beside this file: `python tests/golden/record.py PART ...`.

PART is one of the keys of PARTS below. What changes a recorded value on purpose is recorded anew, and the difference
is read before it is committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the cases of other tests

import adapter
import pictures
from faults import Killed, dies

import grokjax

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARCHIVE = HERE.parent / "data" / "results-format-4.tar.gz"
FIRST = 5  # pairs told in clear of a shipped sweep
MOST_BYTES = 10_000  # of an input whose messages are kept
SYNTHETIC = ("every_key", "every_draw", "every_fork")


def shipped() -> dict[str, Path]:
    """Name -> file of every sweep that comes with grokjax. Those of own families are left out, as the content of the
    examples' code is in their ids; and papers, some of which need files of the user's."""
    files = {str(path.relative_to(ROOT / "sweeps")): path for path in sorted((ROOT / "sweeps").rglob("*.yaml"))}
    return {name: path for name, path in files.items() if not name.startswith(("own/", "papers/"))}


def digest(rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def summary(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """What is kept of the (run id, program key) of a shipped sweep's runs."""
    return {
        "runs": len(pairs),
        "programs": len({key for _, key in pairs}),
        "ids": digest([run_id for run_id, _ in pairs]),
        "ids and keys": digest(pairs),
        "first": [list(pair) for pair in pairs[:FIRST]],
    }


def named(path: Path) -> dict[str, list[str]]:
    """What is kept of a sweep of this folder: each run's (run id, program key), by its arm and number."""
    runs = zip(adapter.arms(path), adapter.identities(path), strict=True)
    return {f"{number} {arm}": list(pair) for number, (arm, pair) in enumerate(runs)}


@contextmanager
def temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def stored_results() -> Iterator[Path]:
    """A folder with the results of the archive: `finished` and `interrupted`."""
    with temporary() as folder:
        shutil.unpack_archive(ARCHIVE, folder)  # tarfile's own has no filter before Python 3.11.4
        yield folder


def identities() -> None:
    write("identities", {name: summary(adapter.identities(path)) for name, path in shipped().items()})
    write("synthetic_identities", {name: named(HERE / f"{name}.yaml") for name in SYNTHETIC})


def bits_of(results: Any, among: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """What is recorded of the runs, or of some of them.

    ARM/NUMBER: the curves of a run, [record, column]; ARM/columns: their names, `step` the first; ARM/params: the
    final parameters of the arm's first run, one after the other; ARM/names: of each of these values its matrix."""
    arrays: dict[str, np.ndarray] = {}
    for run in results.runs().to_dict("records"):
        arm, run_id = run["arm"], run["run_id"]
        if among is not None and run_id not in among:
            continue
        curves = results.curves(None, run_id).drop(columns="run_id").dropna(axis="columns", how="all")
        columns = np.array([str(name) for name in curves.columns])
        if f"{arm}/0" not in arrays:
            params = {name: value.ravel() for name, value in sorted(results.params(run_id).items())}
            arrays[f"{arm}/columns"] = columns
            arrays[f"{arm}/params"] = np.concatenate(list(params.values()))
            arrays[f"{arm}/names"] = np.repeat(list(params), [len(value) for value in params.values()])
        assert columns.tolist() == arrays[f"{arm}/columns"].tolist()
        number = sum(name.rpartition("/")[0] == arm and name.rpartition("/")[2].isdigit() for name in arrays)
        arrays[f"{arm}/{number}"] = curves.to_numpy(np.float64)  # exact: float32, and steps far below 2^24
    return arrays


def bits() -> None:
    with temporary() as folder:
        arrays = bits_of(grokjax.run(HERE / "bits.yaml", folder / "out"))
    np.savez_compressed(HERE / "bits.npz", **arrays)  # pyright: ignore[reportArgumentType]
    write("fingerprint", adapter.fingerprint())


def bad_input() -> dict[str, list[bytes]]:
    """What other tests hold to be bad sweep files, settings and forks."""
    import test_bad_sweeps as sweeps
    import test_forks_in_sweeps as forks

    texts = [text for text, _ in forks.BAD.values()]
    texts += [f"base:\n  init:\n    from_run: {{results: r, run: {forks.A}, step: {step}}}\n" for step in forks.STEPS]
    texts += [f"base:\n  init.from_run: {forks.ONE}\nparameters:\n  {axis}\n" for axis in forks.USELESS]
    files = [str(case.values[0]).encode() for case in sweeps.corpus()] + list(sweeps.BYTES)
    return {
        "files": [data for data in files if len(data) < MOST_BYTES],
        "settings": [setting.encode() for setting in sweeps.SETTINGS],
        "forks": [text.replace(forks.__file__, "sweep.yaml").encode() for text in texts],
        "lookups": lookups(),
    }


def lookups() -> list[bytes]:
    """Forks of stored runs that are not there."""
    base = "base:\n  task: {p: 7, train_fraction: 0.6}\n  model: {name: mlp, widths: [8]}\n  init:\n    from_run: "
    wanted = (
        "{results: nowhere, select: {}}",
        "{results: finished/curves, select: {}}",
        "{results: finished, run: 0123456789ab}",
        "{results: finished, select: {arm: decay}, step: 17}",
        "{results: finished, select: {optimizer.weight_decy: 1}}",
        "{results: finished, select: {seed: 99}}",
        "{results: finished, select: {arm: decay}, step: before slingshot:9}",
        "{results: finished, select: {arm: rough}}",
    )
    return [f"{base}{asked}\n".encode() for asked in wanted]


def said(kind: str, data: bytes) -> list[str]:
    """The whole text of every mistake that an input is refused with."""
    with stored_results() if kind == "lookups" else temporary() as folder, contextlib.chdir(folder):
        path = folder / "sweep.yaml"
        path.write_bytes(b"parameters: {seed: {min: 0, max: 3}}\n" if kind == "settings" else data)
        lines = adapter.refusal(path, [data.decode()] if kind == "settings" else None, kind == "forks")
        return [without_lists(line) for line in lines]


def without_lists(line: str) -> str:
    """A message without the names of all families of a kind: a new family adds its own to them."""
    for kind, names in adapter.names_of_kinds().items():
        line = re.sub(rf"(one of|there are) {re.escape(', '.join(names))}(?=,|$)", rf"\1 all {kind}s", line)
    return re.sub(r"(that is a key of \w+)(, \w+)+", r"\1, ...", line)


def messages() -> None:
    told = {kind: {data: said(kind, data) for data in sorted(inputs)} for kind, inputs in bad_input().items()}
    write(
        "messages",
        {
            kind: {data.decode("latin-1"): lines for data, lines in cases.items() if lines}
            for kind, cases in told.items()
        },
    )


def directories() -> None:
    """The archive of results, and what the interrupted ones come to where nothing interrupts them."""
    with temporary() as folder:
        whole, out = folder / "whole", folder / "interrupted"
        with adapter.often():
            with dies(whole, None) as counted:
                results = grokjax.run(HERE / "interrupted.yaml", whole)
            with dies(out, counted.seen // 2), contextlib.suppress(Killed):
                grokjax.run(HERE / "interrupted.yaml", out)
        finished = grokjax.run(HERE / "finished.yaml", folder / "finished")
        write("verified", {path.name: adapter.command("verify", path)[1] for path in (finished.path, out)})
        np.savez_compressed(HERE / "resumed.npz", **bits_of(results))  # pyright: ignore[reportArgumentType]
        np.savez_compressed(HERE / "finished.npz", **bits_of(finished))  # pyright: ignore[reportArgumentType]
        ARCHIVE.parent.mkdir(exist_ok=True)
        with tarfile.open(ARCHIVE, "w:gz", compresslevel=9) as archive:
            for path in (finished.path, out):
                archive.add(path, path.name, filter=anonymous)


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def figures() -> None:
    with stored_results() as folder:
        results = grokjax.open_results(folder / "finished")
        csvs = {name: pictures.drawn(name, results, folder) for name in (*pictures.EXACT, *pictures.COMPUTED)}
        write("figures", {name: csv.splitlines() for name, csv in (csvs | pictures.tables(results)).items()})


def questions() -> None:
    answers = {name: pictures.answered(name) for name in pictures.QUESTIONS}
    write("questions", {name: {"csv": csv.splitlines(), "answer": lines} for name, (csv, lines) in answers.items()})


def write(name: str, items: dict[str, Any]) -> None:
    """JSON with one item a line."""
    (HERE / f"{name}.json").write_text(text_of(items) + "\n", encoding="utf-8")


def text_of(items: Any, indent: str = "") -> str:
    """Pretty JSON; a short list of plain values stands on one line."""
    line = json.dumps(items, ensure_ascii=False)
    if not isinstance(items, (dict, list)) or (isinstance(items, list) and len(line) < 100) or not items:
        return line
    inner = indent + "  "
    if isinstance(items, list):
        lines = [inner + text_of(item, inner) for item in items]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {text_of(value, inner)}" for key, value in items.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


PARTS = {
    "identities": identities,
    "bits": bits,
    "messages": messages,
    "directories": directories,
    "figures": figures,
    "questions": questions,
}


def prepare() -> None:
    """JAX as in tests/conftest.py: four CPU devices, quick compilation, no tuning table of this user."""
    os.environ |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
    import jax

    jax.config.update("jax_disable_most_optimizations", True)


if __name__ == "__main__":
    prepare()
    for part in sys.argv[1:]:
        PARTS[part]()
