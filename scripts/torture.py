"""Kills, fills and corrupts small sweeps until something breaks; prints what was done as a table, exit 1 if it did.

    python scripts/torture.py [--kills 40] [--writes 40] [--stride 1] [--flips 240] [--disks 20] [--launches 10]

After each fault the same command is run again, and all curves, events, runs and snapshots are compared, bit for bit,
with a sweep that nothing happened to; every byte is verified. The sweeps are those of the tests: one plain, one whose
lanes are recycled, with a run that diverges and one that stops early.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}  # as in the tests
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bits import PLAIN, RECYCLED, bits, write
from child import Options, do_everything_often, start
from corruption import flip, kinds, truncate
from faults import Killed, dies

import grokjax
from grokjax.launch import repair, run
from grokjax.results.files import Damaged
from grokjax.results.verify import verify

SWEEPS = {"plain": PLAIN, "recycled": RECYCLED}
LONGEST = 300.0  # seconds that one child may take


@dataclass
class Sweep:
    """A sweep and how it ends undisturbed."""

    path: Path
    bits: dict[str, Any]
    seconds: float  # that its process takes
    writes: int  # that its process does
    boundaries: int  # between two durable writes; what happens inside Orbax's own folder is one


@dataclass
class Tally:
    """What was done of one kind, and what went wrong."""

    what: str
    done: int = 0
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)

    def row(self) -> str:
        return f"| {self.what} | {self.done} | {len(self.wrong)} |"


def main() -> None:
    given = arguments()
    rng = random.Random(given.seed)
    do_everything_often(Options())
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        sweeps = {name: undisturbed(Path(folder) / name, sweep) for name, sweep in SWEEPS.items()}
        tallies = []
        for tortured in (damages, kills, writes, boundaries, disks, launches):
            found = tortured(sweeps, Path(folder) / "out", given, rng)
            for tally in found:
                print(tally.row(), flush=True)
            tallies += found
    print("\n| fault | times | not survived or not seen |\n|---|---|---|")
    print("\n".join(tally.row() for tally in tallies))
    for tally in tallies:
        for wrong in tally.wrong:
            print(f"{tally.what}: {wrong}", file=sys.stderr)
    sys.exit(any(tally.wrong for tally in tallies))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="kills at random times, for each sweep")
    parser.add_argument("--writes", type=int, default=40, help="kills just before a random write, for each sweep")
    parser.add_argument("--stride", type=int, default=1, help="die at every so many boundaries between durable writes")
    parser.add_argument("--flips", type=int, default=240, help="flipped bits, and as many truncations")
    parser.add_argument("--disks", type=int, default=20, help="disks too small")
    parser.add_argument("--launches", type=int, default=10, help="times that three processes begin at once")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def undisturbed(folder: Path, sweep: dict[str, Any]) -> Sweep:
    folder.mkdir()
    path = write(folder, sweep)
    finish(path, folder / "warm")  # compiled programs are kept
    begun = time.monotonic()
    said = finish(path, folder / "out")
    seconds = time.monotonic() - begun
    with dies(folder / "inside", None) as counted:
        run(path, out=folder / "inside")
    return Sweep(path, bits(folder / "out"), seconds, int(said.split("writes ")[1]), counted.seen)


def finish(sweep: Path, out: Path) -> str:
    child = start(sweep, out)
    said, wrong = child.communicate(timeout=LONGEST)
    if child.returncode:
        raise RuntimeError(f"exit {child.returncode}: {wrong}")
    return said


@contextlib.contextmanager
def trial(tally: Tally, sweep: Sweep, out: Path, name: str) -> Iterator[None]:
    """A fault inside; then the same command again, and the comparison."""
    shutil.rmtree(out, ignore_errors=True)
    tally.done += 1
    try:
        yield
        tally.resumed += any(out.glob("chunks/*/*"))
        run(sweep.path, out=out)
        report = verify(out)
        if bits(out) != sweep.bits:
            tally.wrong.append(f"{name}: other bits")
        if report.damaged or report.unknown:
            tally.wrong.append(f"{name}: verify says {report.damaged} {report.unknown}")
    except Exception as error:
        tally.wrong.append(f"{name}: {type(error).__name__}: {error}")


def kills(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """SIGKILL at random times, up to three times in a row."""
    tallies = []
    for name, sweep in sweeps.items():
        tally = Tally(f"SIGKILL at a random time, up to three in a row, {name}")
        for _ in range(given.kills):
            times = [rng.uniform(0.3, 1.1) * sweep.seconds for _ in range(rng.randint(1, 3))]
            with trial(tally, sweep, out, f"after {times} s"):
                for seconds in times:
                    killed(start(sweep.path, out, waits=rng.random() < 0.5), seconds)
        tallies.append(tally)
    return tallies


def killed(child: subprocess.Popen[str], seconds: float) -> None:
    try:
        child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()


def writes(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """SIGKILL just before a write of any kind, Orbax's own included."""
    tallies = []
    for name, sweep in sweeps.items():
        tally = Tally(f"SIGKILL before any of {sweep.writes:,} writes, Orbax's own included, {name}")
        for at in sorted(rng.sample(range(sweep.writes), min(given.writes, sweep.writes))):
            with trial(tally, sweep, out, f"write {at}"):
                start(sweep.path, out, at=at, send=signal.SIGKILL).communicate(timeout=LONGEST)
        tallies.append(tally)
    return tallies


def boundaries(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """Death at every boundary between two durable writes."""
    tallies = []
    for name, sweep in sweeps.items():
        tally = Tally(f"death at a boundary between two durable writes ({sweep.boundaries:,} there are), {name}")
        for at in range(rng.randrange(given.stride), sweep.boundaries, given.stride):
            with trial(tally, sweep, out, f"boundary {at}"), contextlib.suppress(Killed), dies(out, at):
                run(sweep.path, out=out)
        tallies.append(tally)
    return tallies


def disks(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """A small file system (where one may be mounted), and files that may not grow."""
    sweep = sweeps["recycled"]
    tallies = [Tally("file system of 50 to 500 kB"), Tally("files of no more than 1 to 20 kB")]
    for number in range(given.disks):
        small_disk = number % 2 == 0 and os.getuid() == 0
        size = rng.randrange(50, 500) * 1024 if small_disk else rng.randrange(1, 20) * 1024
        with trial(tallies[not small_disk], sweep, out, f"{size} bytes"):
            if small_disk:
                on_small_disk(sweep, out, size)
            else:
                one_line(start(sweep.path, out, limit=size))
    return tallies


def on_small_disk(sweep: Sweep, out: Path, size: int) -> None:
    """Train there; what it left is copied to where there is room."""
    disk = Path(f"{out}-disk")
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    try:
        one_line(start(sweep.path, disk / "out"))
        if (disk / "out").exists():
            shutil.copytree(disk / "out", out)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def one_line(child: subprocess.Popen[str]) -> None:
    """It ended, or said in one line why not."""
    _, wrong = child.communicate(timeout=LONGEST)
    if child.returncode not in (0, 1) or (child.returncode == 1 and len(wrong.strip().splitlines()) != 1):
        raise RuntimeError(f"exit {child.returncode}: {wrong[-2000:]}")


def launches(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """Three processes at once in one directory."""
    tally = Tally("three launches at once")
    for _ in range(given.launches):
        name = rng.choice(sorted(sweeps))
        with trial(tally, sweeps[name], out, name):
            children = [start(sweeps[name].path, out) for _ in range(3)]
            ends = [(child.communicate(timeout=LONGEST), child.returncode) for child in children]
            for (_, wrong), status in ends:
                if status not in (0, 1) or (status == 1 and "trains there" not in wrong):
                    raise RuntimeError(f"exit {status}: {wrong}")
            if all(status for _, status in ends):
                raise RuntimeError("nobody trained")
    return [tally]


def damages(sweeps: dict[str, Sweep], out: Path, given: argparse.Namespace, rng: random.Random) -> list[Tally]:
    """Flipped bits and truncations, in every kind of file, of a sweep that ended and of one that was interrupted."""
    whole, cut = Path(f"{out}-whole"), Path(f"{out}-cut")
    sweep = sweeps["recycled"]
    run(sweep.path, out=whole)
    with contextlib.suppress(Killed), dies(cut, sweep.boundaries * 2 // 3):
        run(sweep.path, out=cut)
    tallies = []
    for what, harm in (("a flipped bit", flip), ("a truncation", truncate)):
        for state, origin in (("ended", whole), ("interrupted", cut)):
            places = kinds(origin)
            tally = Tally(f"{what} in a file of a sweep that {'had ended' if state == 'ended' else 'was interrupted'}")
            for number in range(given.flips // 2):
                kind = sorted(places)[number % len(places)]
                harmed(tally, sweep, origin, out, rng.choice(places[kind]), harm, rng)
            tally.what += f" ({len(places)} kinds of file)"
            tallies.append(tally)
    return tallies


def harmed(
    tally: Tally,
    sweep: Sweep,
    origin: Path,
    out: Path,
    place: Path,
    harm: Callable[[Path, random.Random], None],
    rng: random.Random,
) -> None:
    """One file is harmed: verify must name it, reading must not give other numbers, repair must give the same bits."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(origin, out, symlinks=True)
    path = out / place.relative_to(origin)
    before = bits_or_error(out)
    harm(path, rng)
    tally.done += 1
    try:
        report = verify(out)
        named = any(path.name in str(damage.path) for damage in report.damaged)
    except (Damaged, grokjax.SweepError) as error:
        report, named = None, path.name in str(error)
    if not named:
        tally.wrong.append(f"{path.relative_to(out)}: not named")
    read = bits_or_error(out)
    if not isinstance(read, str) and read != before:
        tally.wrong.append(f"{path.relative_to(out)}: read as other numbers")
    if report and rng.random() < 0.25:
        repair(out, report)
        run(sweep.path, out=out)
        if bits(out) != sweep.bits:
            tally.wrong.append(f"{path.relative_to(out)}: other bits after a repair")


def bits_or_error(out: Path) -> dict[str, Any] | str:
    try:
        return bits(out)
    except (Damaged, grokjax.SweepError) as error:
        return str(error)


if __name__ == "__main__":
    main()
