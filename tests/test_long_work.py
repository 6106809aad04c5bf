"""Long work says how far it is where somebody looks at a terminal, and nowhere else."""

import io

import pytest
from rich.console import Console

from grokjax import live
from grokjax.live import long_work
from grokjax.results.follow import follow, listening


def test_a_listener_is_told_of_every_step_and_gets_the_items_unchanged():
    told = []
    with listening(lambda *step: told.append(step)):
        assert list(follow(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert told == [("letters", 1, 3), ("letters", 2, 3), ("letters", 3, 3)]


def test_an_item_may_be_several():
    told = []
    with listening(lambda *step: told.append(step)):
        list(follow([[1, 2], [3]], "numbers", 3, len))
    assert told == [("numbers", 2, 3), ("numbers", 3, 3)]


def test_nobody_is_told_after_the_listener_has_gone():
    told = []
    with pytest.raises(ZeroDivisionError), listening(lambda *step: told.append(step)):
        raise ZeroDivisionError
    list(follow([1], "numbers", 1))
    assert told == []


@pytest.mark.parametrize(
    ("patience", "is_terminal", "shows"), [(0.0, True, True), (60.0, True, False), (0.0, False, False)]
)
def test_a_terminal_shows_work_that_takes_longer_than_a_moment(monkeypatch, patience, is_terminal, shows):
    monkeypatch.setattr(live, "PATIENCE_SECONDS", patience)
    file = io.StringIO()
    with long_work(Console(file=file, force_terminal=is_terminal, width=80)):
        list(follow(range(4), "snapshots", 4))
    assert ("snapshots" in file.getvalue() and "4/4" in file.getvalue()) == shows
    assert shows or not file.getvalue()
