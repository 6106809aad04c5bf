"""Removing what is damaged in a results directory, so that training again makes it whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from grokjax.plan.plan import Plan
from grokjax.results.attempts import discard, forget
from grokjax.results.checkpoints import CHUNK_FOLDER, LISTING, Checkpoints
from grokjax.results.files import Damaged, digest_file, remove, write_whole
from grokjax.results.layout import CHUNKS, WORK, is_flat
from grokjax.results.verify import CHUNK, chunks_of
from grokjax.results.write import drop_after


def clear(out: Path, plan: Plan, damaged: Iterable[Damaged]) -> set[int]:
    """Remove what is damaged, so that training again makes it whole; what people drew must be drawn again. Returns the
    chunks that were cleared, or of which something was."""
    damaged = list(damaged)
    chunks = chunks_of(out, {damage.path for damage in damaged})
    for damage in damaged:
        if damage.path.is_symlink() or not damage.path.is_file():
            remove(damage.path)  # of a link, not what it leads to
    for index in sorted(chunks) if is_flat(out) else ():
        drop_after(out, index)
        Checkpoints(out, index, "").drop()
    for damage in damaged:
        parts = damage.path.relative_to(out).parts
        if parts == ("sweep.yaml",):
            write_whole(damage.path, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
        elif parts[0] == "checkpoints":
            _clear_checkpoint(out, parts)
        elif parts[0] == CHUNKS:
            _clear_at_home(out, parts)
        elif parts[0] not in CHUNK:
            remove(damage.path)
            remove(digest_file(damage.path))
    return chunks


def _clear_at_home(out: Path, parts: tuple[str, ...]) -> None:
    """Of a chunk that is done everything goes but what is only derived; of one under way the attempt, or a checkpoint
    of it."""
    place = parts[3:]
    if place[:1] == (WORK,) and len(place) > 3 and place[2] == "checkpoints":
        _clear_checkpoint(out.joinpath(*parts[:5]), place[2:])
    elif place[:1] == (WORK,) and len(place) > 2:
        discard(out.joinpath(*parts[:5]))
    elif place and place[0].startswith("summary-"):
        remove(out.joinpath(*parts))
    elif len(parts) > 2 and parts[2].isdecimal():
        forget(out, int(parts[2]))
    else:
        remove(out.joinpath(*parts))


def _clear_checkpoint(folder: Path, parts: tuple[str, ...]) -> None:
    listing = LISTING.fullmatch(parts[2])
    if CHUNK_FOLDER.fullmatch(parts[1]) and (listing or parts[2].isdecimal()):
        number = int(parts[1].removeprefix("chunk-"))
        Checkpoints(folder, number, "").remove(int(listing[1] if listing else parts[2]))
