"""How what is trained here comes into a bucket, and what others have trained there comes here.

An attempt has its folder in this process's copy, as in any results directory. Its records and checkpoints are shipped
while it trains, so that another worker can go on where this one dies; the chunk's files when it has ended; and then
`done.json` is created, of which there can be one. In a directory that is no copy all this does nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grokjax.results.bucket import TRIES, Bucket, Stat, bucket_of
from grokjax.results.checkpoints import LISTING, Checkpoints, chunk_folder
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.commits import Commit, as_json, create_commit
from grokjax.results.files import discard, json_bytes
from grokjax.results.layout import ATTEMPT, WORK, compact_file, curves_files, home_of, snapshots_files
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.workers import OLD_SECONDS, PROGRESS, STOP
from grokjax.sweep.load import Mistake, SweepError

SHIP_SECONDS = 15.0  # from one time that an attempt is shipped to the next
LISTED = re.compile(rf"{WORK}/({ATTEMPT.pattern})/checkpoints/[^/]+/{LISTING.pattern}")
LOOK_SECONDS = 5.0  # from one look at whether another was first, or a stop is asked for, to the next

Say = Callable[[str], None]


@dataclass
class Shipper:
    """Ships the folder of an attempt, in a thread of its own."""

    bucket: Bucket
    out: Path
    folder: Path
    chunk: int
    say: Say
    sent: set[str] = field(default_factory=set)
    looked: float = -LOOK_SECONDS
    shipped: float = field(default_factory=time.monotonic)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "shipping"))
    _at_it: Future[None] | None = None

    def look(self) -> None:
        """To be called now and then. Returns at once."""
        now = time.monotonic()
        if (self._at_it is None or self._at_it.done()) and now - self.looked > LOOK_SECONDS:
            self.looked = now
            self._at_it = self._pool.submit(self._look)

    def finish(self) -> None:
        """Ship what another worker goes on with. Raises OSError."""
        if self._at_it:
            self._at_it.result()
        if chunk_folder(self.folder, self.chunk).exists():  # else all its runs have ended
            self._ship()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _look(self) -> None:
        try:
            if _fetch_commit(self.bucket, self.out, home_of(self.out, self.chunk)):
                discard(self.folder)  # by which its attempt notices
                return
            _fetch_stop(self.bucket, self.out)
            if time.monotonic() - self.shipped > SHIP_SECONDS:
                self._ship()
                self.shipped = time.monotonic()
        except FileNotFoundError:  # a checkpoint was replaced by the next one at this moment
            pass
        except OSError as error:
            self.say(f"chunk {self.chunk}: what is recorded could not be shipped ({error}); it is tried again")

    def _ship(self) -> None:
        is_first = not self.sent
        parts = self._parts()
        for names in parts:
            new = [name for name in names if name not in self.sent]
            self.bucket.put(new, self.out)
            self.sent.update(new)
        gone = self.sent.difference(*parts)
        self.bucket.remove(gone)
        self.sent -= gone
        self.bucket.put([_name(self.out, self.folder / PROGRESS)], self.out)
        if is_first:
            self._clear_old()

    def _parts(self) -> list[list[str]]:
        """Names of files that stay as they are, in the order in which they must come: none announces a later one."""
        checkpoints = Checkpoints(self.folder, self.chunk, "")
        segments = checkpoints.segments()  # looked at first: what they go on from is there then
        arrays = [path for segment in segments for path in _files(checkpoints.folder / str(segment))]
        listings = [checkpoints.listing(segment) for segment in segments]
        records = [snapshots_files(self.folder), curves_files(self.folder)]
        return [[_name(self.out, path) for path in paths] for paths in (*records, arrays, listings)]

    def _clear_old(self) -> None:
        """Remove attempts that are dead by all signs, as in any results directory."""
        work = f"{_name(self.out, home_of(self.out, self.chunk))}/{WORK}"
        listing = self.bucket.listing(work)
        newest: dict[str, float] = {}
        for name, stat in listing.items():
            token = name.removeprefix(f"{work}/").partition("/")[0]
            newest[token] = max(newest.get(token, 0.0), stat.time)
        now = newest[self.folder.name]
        old = {f"{work}/{token}/" for token, written in newest.items() if now - written > OLD_SECONDS}
        self.bucket.remove([name for name in listing if name.startswith(tuple(old))])


@contextmanager
def shipping(out: Path, folder: Path, chunk: int, say: Say) -> Iterator[Callable[[], None]]:
    """Yields what is to be called whenever records are on disk."""
    bucket = bucket_of(out)
    if bucket is None:
        yield lambda: None
        return
    shipper = Shipper(bucket, out, folder, chunk, say)
    try:
        yield shipper.look
        shipper.finish()
    finally:
        shipper.close()


def fetch_home(out: Path, chunk: int) -> None:
    """What others have made of a chunk: its end, or the attempt that got furthest. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    _fetch_stop(bucket, out)
    home = home_of(out, chunk)
    for _ in range(TRIES):
        if _fetch_commit(bucket, out, home):
            return
        attempt, wanted = _furthest(bucket.listing(_name(out, home)), _name(out, home))
        if not attempt or (home / WORK / attempt).is_dir() or not bucket.get(wanted, out):
            return
        discard(home / WORK / attempt)  # its owner has committed, or gone on, meanwhile


def _furthest(listing: dict[str, Stat], home: str) -> tuple[str, dict[str, Stat]]:
    """The attempt with the newest checkpoint, and its objects; "": none has one."""
    found = (LISTED.fullmatch(name.removeprefix(f"{home}/")) for name in listing)
    checkpoints = [(match[2], match[1]) for match in found if match]
    if not checkpoints:
        return "", {}
    _, attempt = max(checkpoints)
    begin = f"{home}/{WORK}/{attempt}/"
    return attempt, {name: stat for name, stat in listing.items() if name.startswith(begin)}


def publish(out: Path, home: Path, commit: Commit) -> bool:
    """Make an attempt the chunk's. Returns False where another was first. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return create_commit(home, commit)
    paths = [*(home / name for name in commit.files), compact_file(home, "summary", commit.attempt)]
    mine = {_name(out, path) for path in paths}
    bucket.put(mine, out)
    record = _name(out, home / COMMIT)
    is_first = bucket.create(record, json_bytes(COMMIT, as_json(commit)))
    if not is_first:
        bucket.remove(mine)
    _fetch_commit(bucket, out, home)
    if is_first:
        bucket.remove(bucket.listing(_name(out, home)).keys() - {record, *mine})
        for name in commit.files:  # they come again when they are read: here is no room for those of all chunks
            (home / name).unlink()
    return is_first


def publish_plan(out: Path, is_new: bool) -> None:
    """Make the plan that of the bucket. Raises SweepError where another process was first to plan, and OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    shards, there = {_name(out, path) for path in _files(out / SHARDS)}, bucket.listing(SHARDS).keys()
    bucket.put([*(shards - there), "sweep.yaml"], out)
    data = (out / "plan.json").read_bytes()
    if not is_new:
        bucket.write("plan.json", data)
    elif not bucket.create("plan.json", data):
        what = "was planned by another process at this moment; the same command goes on"
        raise SweepError([Mistake(bucket.url, 0, 0, "", what)])
    bucket.remove(there - shards)


def withdraw(out: Path, chunks: Iterable[int]) -> None:
    """Remove all that a bucket has of some chunks, their ends first; what people read is as it is here. Raises
    OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return
    bucket.put(["sweep.yaml"], out)
    for chunk in chunks:
        home = _name(out, home_of(out, chunk))
        bucket.remove([f"{home}/{COMMIT}"])
        bucket.remove(bucket.listing(home).keys())


def _fetch_commit(bucket: Bucket, out: Path, home: Path) -> bool:
    """Whether a chunk has ended; if so its record is here."""
    name = _name(out, home / COMMIT)
    stat = bucket.stat(name)
    return stat is not None and not bucket.get({name: stat}, out)


def _fetch_stop(bucket: Bucket, out: Path) -> None:
    if bucket.stat(STOP):
        (out / STOP).touch()
    else:
        (out / STOP).unlink(missing_ok=True)


def _name(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
