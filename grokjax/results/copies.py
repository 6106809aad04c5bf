"""Copies, on this machine, of results directories that lie in buckets.

Who reads has one in the cache of this user: the plan, the ends of chunks, and the records of those under way are made
the same there as in the bucket; curves and snapshots of chunks that have ended come when they are read. Who trains has
a folder of this process's own, with the plan (see `shipping.py`).
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from grokjax.plan.tuning import cache_folder
from grokjax.results.bucket import TRIES, Bucket, Stat, bucket_of, name_of, note_copy, open_bucket
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.layout import ATTEMPT, CHUNKS, COMPACT, CURVES, GROUP, HOME, SNAPSHOTS, WORK
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.shards import NAME as SHARD
from grokjax.results.workers import FAILED, PROGRESS, STOP
from grokjax.spec.files import is_url
from grokjax.sweep.load import Mistake, SweepError

FOLDER = "buckets"  # of this user's cache
SAME_SECONDS = 0.01  # two times of one file, as two file systems keep it
TOP = ("plan.json", "sweep.yaml", STOP)
ATTEMPTS = rf"{WORK}/{ATTEMPT.pattern}"
AT_HOME = re.compile(rf"({CHUNKS}/{GROUP.pattern}/{HOME.pattern})/(.+)")
ENDED = re.compile(rf"{re.escape(COMMIT)}|summary-{ATTEMPT.pattern}\.parquet")
UNDER_WAY = re.compile(rf"{re.escape(FAILED)}|{ATTEMPTS}/({re.escape(PROGRESS)}|curves/{CURVES.pattern})")
LARGE = re.compile(rf"{COMPACT.pattern}|{ATTEMPTS}/snapshots/{SNAPSHOTS.pattern}")

Listing = Mapping[str, Stat]


def place_of(named: str | Path, copy: Callable[[str], Path]) -> Path:
    """A path as it is; for the address of a bucket the copy that `copy` makes."""
    return copy(str(named)) if is_url(str(named)) else Path(named)


def copy_to_read(url: str) -> Path:
    """A copy in this user's cache, as far as `refresh` goes. Raises ValueError for an address that is none, SweepError
    where no results directory is, and OSError."""
    out = read_folder(url)
    refresh(out)
    if not (out / "plan.json").exists():
        raise SweepError([Mistake(name_of(out), 0, 0, "", "is no results directory: it has no plan.json")])
    return out


def read_folder(url: str) -> Path:
    """Where the copy for reading is, or is to be. Raises ValueError."""
    bucket = open_bucket(url)
    stamp = hashlib.sha256(bucket.url.encode()).hexdigest()[:8]
    out = cache_folder().absolute() / FOLDER / f"{_last_of(bucket)}-{stamp}"
    note_copy(out, bucket)
    return out


def copy_to_train(url: str) -> Path:
    """A folder of this process with the plan, where there is one. It is removed when the process ends. Raises
    ValueError for an address that is none, SweepError where something else lies there, and OSError."""
    bucket = open_bucket(url)
    folder = tempfile.mkdtemp(prefix="grokjax-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    out = Path(folder) / _last_of(bucket)
    out.mkdir()
    note_copy(out, bucket)
    top = {name: stat for name in TOP if (stat := bucket.stat(name))}
    if "plan.json" in top:
        (out / CHUNKS).mkdir()  # by which the layout is known
        bucket.get({**_of_plan(bucket.listing(SHARDS)), **top}, out)
    else:
        _refuse_what_is_not_ours(bucket)
    return out


def _refuse_what_is_not_ours(bucket: Bucket) -> None:
    """Raises SweepError unless there is nothing, or what a kill has left before the plan was there."""
    listing = bucket.listing()
    foreign = listing.keys() - _of_plan(listing) - {*TOP}
    if foreign:
        what = f"has {min(foreign)} in it, and is no results directory; give another --out"
        raise SweepError([Mistake(bucket.url, 0, 0, "", what)])


def refresh(out: Path) -> None:
    """Make a copy for reading what its bucket is now; of a directory that is none nothing. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        listing = bucket.listing()
        _drop_all_but(out, listing)
        if not bucket.get(_changed(out, _read_at_once(listing)), out):
            return
        # a chunk has ended meanwhile, so that what was recorded of it under way is gone
    _drop_all_but(out, bucket.listing())


def fetch_all(out: Path) -> None:
    """Of a copy for reading all that its bucket has of records, each byte anew; of others nothing. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    listing = bucket.listing()
    large = {name: stat for name, stat in listing.items() if _is_large(name)}
    bucket.get({**_read_at_once(listing), **large}, out)
    refresh(out)  # what has ended, or gone, meanwhile


def fetch_ends(out: Path) -> None:
    """Of a copy which chunks have ended. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    listing = bucket.listing(CHUNKS)
    ends = {name: stat for name, stat in listing.items() if (at := AT_HOME.fullmatch(name)) and at[2] == COMMIT}
    bucket.get(_changed(out, ends), out)


def _last_of(bucket: Bucket) -> str:
    return bucket.url.rsplit("/", 1)[1]


def _read_at_once(listing: Listing) -> dict[str, Stat]:
    """What every reader needs, of what grokjax writes."""
    homes = {name: match for name in listing if (match := AT_HOME.fullmatch(name))}
    of_homes = {name: listing[name] for name, match in homes.items() if _is_small(match, listing)}
    top = {name: listing[name] for name in TOP if name in listing}
    return {**top, **_of_plan(listing), **of_homes}


def _of_plan(listing: Listing) -> dict[str, Stat]:
    shards = {name: name.removeprefix(f"{SHARDS}/") for name in listing if name.startswith(f"{SHARDS}/")}
    return {name: listing[name] for name, shard in shards.items() if SHARD.fullmatch(shard)}


def _is_small(at_home: re.Match[str], listing: Listing) -> bool:
    home, name = at_home.groups()[:2]
    has_ended = f"{home}/{COMMIT}" in listing
    return bool(ENDED.fullmatch(name) or (not has_ended and UNDER_WAY.fullmatch(name)))


def _is_large(name: str) -> bool:
    at_home = AT_HOME.fullmatch(name)
    return at_home is not None and LARGE.fullmatch(at_home[2]) is not None


def _changed(out: Path, wanted: Listing) -> dict[str, Stat]:
    """Those that are not here, or of another size or time."""
    return {name: stat for name, stat in wanted.items() if not _is_here(out / name, stat)}


def _is_here(path: Path, stat: Stat) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    return here.st_size == stat.size and abs(here.st_mtime - stat.time) < SAME_SECONDS


def _drop_all_but(out: Path, listing: Listing) -> None:
    """Remove what was copied and is no longer in the bucket."""
    for path in _copied(out):
        if path.relative_to(out).as_posix() not in listing:
            path.unlink(missing_ok=True)


def _copied(out: Path) -> Iterator[Path]:
    yield from (out / name for name in TOP)
    for folder in (SHARDS, CHUNKS):
        for root, _, names in os.walk(out / folder):
            yield from (Path(root, name) for name in names)
