"""What grokjax did when these files were recorded, it does still: identities, bits, messages, figures, directories.

The data are in golden/ and were made by golden/record.py, which also tells how each is compared. A difference is a
change of behaviour: where it is meant, record that part again and commit the difference with its reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "golden"))

import adapter
import record

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
