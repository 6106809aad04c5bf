"""Every test runs with the shapes and dtypes of jaxtyping checked, on four CPU devices, without this user's cache."""

import gc
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ["JAX_PLATFORMS"] = "cpu"
if "PYTEST_XDIST_WORKER" not in os.environ:
    cache = tempfile.mkdtemp()  # others' tuning tables and compiled programs must not reach a test
    os.environ["XDG_CACHE_HOME"] = cache
    # what one test or worker compiled, all use, however small it is
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{cache}/jax"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "questions"))  # as for a script that lies there

import jax
import jaxtyping
import pytest
from quickly import QUICK  # compiles, for what is set above

from grokjax.spec.identity import program_key
from grokjax.spec.run import RunSpec

ROOMS = ["tasks", "models", "train", "probes", "engine", "analysis"]
jaxtyping.install_import_hook([f"grokjax.{room}" for room in ROOMS], "beartype.beartype")

gc.set_threshold(200_000, 50, 50)  # else a twentieth of the time goes into looking at all that JAX has traced

loop = importlib.import_module("grokjax.engine.loop")

# subjects whose numbers or bits must be those of programs compiled as users compile them
AS_SHIPPED = {
    *("test_losses", "test_lanes", "test_recycling", "test_durability", "test_faults", "test_phenomena"),
    "test_readme",
}
ALL_AS_SHIPPED = os.environ.get("COMPILE") == "as shipped"  # scripts/test --all

_made: list[dict[tuple[str, ...], Any]] = []


def _made_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, a function that jits: arguments of one program get one jitted function, traced and compiled once."""
    made: dict[tuple[str, ...], Any] = {}
    _made.append(made)

    @wraps(make)
    def make_once(spec: RunSpec, *others: Any) -> Any:
        key = (program_key(spec), *map(repr, others))
        if key not in made:
            made[key] = make(spec, *others)
        return made[key]

    return make_once


# A sweep that is trained ten times in one file of tests, killed here and there, is compiled once.
for _name in ("segment_program", "refill_program", "close_program"):
    setattr(loop, _name, _made_once(getattr(loop, _name)))


_jit = jax.jit
_newest_file: list[Path | None] = [None]  # of the test before
MOST_BYTES = 3 * 10**9  # of a worker, beyond which it forgets what it compiled for the files of tests before


def _as_shipped(item: pytest.Item) -> bool:
    return item.path.stem in AS_SHIPPED or item.get_closest_marker("as_shipped") is not None or ALL_AS_SHIPPED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is compiled as shipped comes first, so that a worker changes but once how it compiles."""
    items.sort(key=lambda item: not _as_shipped(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the test's fixtures: programs are compiled as shipped, or in less than half of the time."""
    quick = not _as_shipped(item)
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.config.update("jax_disable_most_optimizations", quick)  # of what is not jitted
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quick))  # of the processes that it starts
        jax.jit = partial(_jit, compiler_options=QUICK) if quick else _jit
        _forget_programs()  # what the test before compiled
    elif item.path != _newest_file[0] and _resident_bytes() > MOST_BYTES:
        _forget_programs()
    _newest_file[0] = item.path


def _forget_programs() -> None:
    for made in _made:
        made.clear()
    jax.clear_caches()
    gc.collect()


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def small_report(tmp_path_factory):
    """The results of a small sweep that was run with --report."""
    from report_results import SMALL
    from typer.testing import CliRunner

    from grokjax.cli import app

    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL)
    done = CliRunner().invoke(app, ["run", str(folder / "small.yaml"), "--out", str(folder / "out"), "--report"])
    assert done.exit_code == 0, done.output
    return folder / "out"
