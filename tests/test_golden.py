"""What grokjax did when these files were recorded, it does still: identities, bits, messages, figures, directories.

The data are in golden/ and were made by golden/record.py, which also tells how each is compared. A difference is a
change of behaviour: where it is meant, record that part again and commit the difference with its reason.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent / "golden"))

import adapter  # pyright: ignore[reportMissingImports]
import pictures  # pyright: ignore[reportMissingImports]
import record  # pyright: ignore[reportMissingImports]

import grokjax

GOLDEN = record.HERE

# Identities: a run id or a program key that changed would lose stored runs, or mix programs up


def test_every_shipped_sweep_has_its_identities_recorded():
    assert list(record.read("identities")) == list(record.shipped())


@pytest.mark.parametrize(("name", "recorded"), record.read("identities").items())
def test_run_ids_and_program_keys_of_a_shipped_sweep_are_what_they_were(name: str, recorded: dict):
    assert record.summary(adapter.identities(record.shipped()[name])) == recorded


@pytest.mark.parametrize(("name", "recorded"), record.read("synthetic_identities").items())
def test_run_ids_and_program_keys_of_every_key_are_what_they_were(name: str, recorded: dict):
    assert record.named(GOLDEN / f"{name}.yaml") == recorded


# Bits: every kind of program, through the engine

SHORT = 5  # steps that are compared where the hardware or the versions are others than those of the recorded bits
RTOL, ATOL = 1e-3, 1e-5
ROUNDING = "softmax/mean_grad_cosine"  # the direction of a rounding error is another one elsewhere


@pytest.fixture(scope="module")
def recorded_bits() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "bits.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def bits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return record.bits_of(grokjax.run(GOLDEN / "bits.yaml", tmp_path_factory.mktemp("bits") / "out"))


def is_here() -> bool:
    """Whether the recorded bits are those of this hardware and these versions."""
    return adapter.fingerprint() == record.read("fingerprint")


def differences(arm: str, found: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> list[str]:
    """What is not the same to the bit: the first record of each curve, and the matrices."""
    lines = []
    columns = recorded[f"{arm}/columns"]
    for name in (name for name in recorded if re.fullmatch(rf"{arm}/\d+", name)):
        if found[name].shape != recorded[name].shape:
            lines.append(f"{name}: {found[name].shape} records and columns, not {recorded[name].shape}")
            continue
        same = (found[name] == recorded[name]) | (np.isnan(found[name]) & np.isnan(recorded[name]))
        for column in np.flatnonzero(~same.all(axis=0)):
            row = np.flatnonzero(~same[:, column])[0]
            values = f"{found[name][row, column]!r}, not {recorded[name][row, column]!r}"
            lines.append(f"{name}: {columns[column]} at step {recorded[name][row, 0]:.0f} is {values}")
    params, names = recorded[f"{arm}/params"], recorded[f"{arm}/names"]
    if found[f"{arm}/params"].dtype != params.dtype:
        return [*lines, f"{arm}: parameters are {found[f'{arm}/params'].dtype}, not {params.dtype}"]
    same = np.equal(found[f"{arm}/params"].view(np.uint8), params.view(np.uint8)).reshape(len(params), -1).all(axis=1)
    return [*lines, *(f"{arm}: {name} differs at the end" for name in np.unique(names[~same]))]


ARMS = list(dict.fromkeys(adapter.arms(GOLDEN / "bits.yaml")))


@pytest.mark.parametrize("arm", ARMS)
def test_a_kind_of_program_records_and_computes_what_it_did(arm: str, bits: dict, recorded_bits: dict):
    assert bits.keys() == recorded_bits.keys()
    for name in ("columns", "names"):
        assert bits[f"{arm}/{name}"].tolist() == recorded_bits[f"{arm}/{name}"].tolist()
    if is_here():
        assert differences(arm, bits, recorded_bits) == []
        return
    for name in (name for name in recorded_bits if re.fullmatch(rf"{arm}/\d+", name)):
        rows = np.count_nonzero(recorded_bits[name][:, 0] <= SHORT)
        columns = recorded_bits[f"{arm}/columns"] != ROUNDING
        found, recorded = (arrays[name][:rows, columns] for arrays in (bits, recorded_bits))
        np.testing.assert_allclose(found, recorded, rtol=RTOL, atol=ATOL, err_msg=name)


def test_the_recorded_programs_are_of_every_kind(recorded_bits: dict):
    assert {name.partition("/")[0] for name in recorded_bits} == set(ARMS)


# Messages


@pytest.mark.parametrize("kind", ["files", "settings", "forks", "lookups"])
def test_every_mistake_is_told_in_the_words_it_was(kind: str):
    recorded = record.read("messages")[kind]
    found = {text: record.said(kind, text.encode("latin-1")) for text in recorded}
    changed = [text for text in recorded if found[text] != recorded[text]]
    assert [(text, found[text]) for text in changed] == [(text, recorded[text]) for text in changed]
    assert len(recorded) > 7


# Figures


@pytest.fixture(scope="module")
def stored() -> Iterator[Path]:
    with record.stored_results() as folder:
        yield folder


def lines_of(name: str, stored: Path, tmp_path: Path) -> list[str]:
    return pictures.drawn(name, grokjax.open_results(stored / "finished"), tmp_path).splitlines()


@pytest.mark.parametrize("name", pictures.EXACT)
def test_the_csv_of_a_figure_of_stored_curves_is_the_same_text(name: str, stored: Path, tmp_path: Path):
    assert lines_of(name, stored, tmp_path) == record.read("figures")[name]


@pytest.mark.parametrize("name", pictures.COMPUTED)
def test_the_csv_of_a_figure_that_computes_has_the_same_numbers(name: str, stored: Path, tmp_path: Path):
    found, recorded = lines_of(name, stored, tmp_path), record.read("figures")[name]
    rtol = 1e-5 if is_here() or name != "learning_coefficient" else 0.05  # chains of samples amplify rounding
    assert_same_table(found, recorded, rtol)


def assert_same_table(found: list[str], recorded: list[str], rtol: float) -> None:
    drawn, wanted = (pd.read_csv(io.StringIO("\n".join(lines))) for lines in (found, recorded))
    pd.testing.assert_frame_equal(drawn, wanted, check_exact=False, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("name", pictures.QUESTIONS)
def test_the_answer_to_an_open_question_is_the_same(name: str):
    csv, answer = pictures.answered(name)
    recorded = record.read("questions")[name]
    assert_same_table(csv.splitlines(), recorded["csv"], 1e-9)
    assert answer == recorded["answer"]


# A directory of results that this format was written with


def test_stored_results_are_read_as_they_were_written(stored: Path):
    results = grokjax.open_results(stored / "finished")
    with np.load(GOLDEN / "finished.npz") as recorded:
        found = record.bits_of(results)
        assert found.keys() == set(recorded)
        for arm in {name.partition("/")[0] for name in recorded}:
            assert differences(arm, found, dict(recorded)) == []
    for name, csv in pictures.tables(results).items():
        assert csv.splitlines() == record.read("figures")[name]


def test_stored_results_are_intact_before_and_after_their_tables_are_derived_anew():
    with record.stored_results() as folder:
        out = folder / "finished"
        assert adapter.command("verify", out) == (0, record.read("verified")["finished"])
        grokjax.open_results(out).runs()
        status, said = adapter.command("verify", out)
        assert (status, said.endswith("0 damaged\n")) == (0, True)


def test_interrupted_results_are_intact_and_go_on_to_the_end_that_they_would_have_had(tmp_path: Path):
    with record.stored_results() as folder:
        out, sweep = folder / "interrupted", GOLDEN / "interrupted.yaml"
        assert adapter.command("verify", out) == (0, record.read("verified")["interrupted"])
        taken = grokjax.open_results(out).steps_taken()[0]
        status, said = adapter.command("run", sweep, "--out", out, "--other-device")
        assert status == 0, said
        results = grokjax.open_results(out)
        assert set(results.runs()["status"]) == {"ended"}
        assert 0 < taken < results.steps_taken()[0]
        assert adapter.command("verify", out)[0] == 0
        with np.load(GOLDEN / "resumed.npz") as recorded:
            found = record.bits_of(results)
            assert [found[name].shape for name in recorded] == [recorded[name].shape for name in recorded]
            if is_here():
                assert differences("main", found, dict(recorded)) == []


def test_more_seeds_leave_the_stored_runs_as_they_were(tmp_path: Path):
    with record.stored_results() as folder:
        out = folder / "finished"
        before = {path: path.read_bytes() for name in ("curves", "snapshots") for path in (out / name).iterdir()}
        stored = grokjax.open_results(out)
        run_ids, old = stored.run_ids, record.bits_of(stored)
        text = (GOLDEN / "finished.yaml").read_text()
        grown = tmp_path / "sweep.yaml"
        grown.write_text(text.replace("seed: {values: [0, 1]}  # grows", "seed: {values: [0, 1, 2]}"))
        assert grown.read_text() != text
        results = grokjax.run(grown, out, other_device=True)
        assert len(results.runs().query("seed == 2")) == 2
        assert {path: path.read_bytes() for path in before} == before
        new = record.bits_of(results, run_ids)
        assert all(differences(arm, new, old) == [] for arm in ("decay", "rough", "sphere"))
        assert adapter.command("verify", out)[0] == 0
