"""The house: a room imports only rooms above it, and heavy packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "grokjax"
# from the top of the house to its end; rooms in one tuple are beside each other and know nothing of each other
FLOORS = [
    ("sweep",),
    ("tasks",),
    ("models",),
    ("train",),
    ("probes",),
    ("results",),
    ("engine",),
    ("analysis",),
    ("figures",),
    ("report", "sinks"),
    ("launch",),
    ("bench",),
    ("live",),
    ("tables",),
    ("cli", "__main__"),
    ("__init__",),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MANY_RUNS = {
    "vmap", "jit", "pmap", "pjit", "shard_map", "Mesh", "make_mesh", "NamedSharding", "PartitionSpec",
    "with_sharding_constraint", "donate_argnums", "donate_argnames", "SingleDeviceSharding",
}  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def modules(tree, path):
    """Every module that a file imports, wherever in it, as dotted names (of `from a import b` also `a.b`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = ("grokjax", *path.relative_to(PACKAGE).parts[:-1])
            above = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (above, node.module) if part)
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_rooms(tree, path):
    names = {name.split(".")[1] for name in modules(tree, path) if name.startswith("grokjax.")}
    return {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


def packages(path):
    return {name.split(".")[0] for name in modules(parsed(path), path)}


def words(tree):
    """Names and attributes that a file uses, imports or passes as keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def wrong_imports(tree, path):
    room = room_of(path)
    return {other for other in imported_rooms(tree, path) if other != room and FLOOR[other] >= FLOOR[room]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path):
    assert room_of(path) in FLOOR, "a room that is not in the table of rooms"
    assert not wrong_imports(parsed(path), path)


@pytest.mark.parametrize(
    "code",
    [
        "import grokjax.engine.lanes",
        "from grokjax import launch",
        "from grokjax.results.read import Results",
        "from ..engine import lanes",
        "if TYPE_CHECKING:\n    from grokjax.cli import app",
        "def late():\n    from grokjax.figures import draw",
    ],
)
def test_an_import_from_below_would_be_found(code):
    assert wrong_imports(ast.parse(code), PACKAGE / "sweep" / "plan.py")
    assert not wrong_imports(ast.parse("from grokjax.sweep import spec\nimport jax"), PACKAGE / "sweep" / "plan.py")


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) not in ("engine", "analysis", "bench")],
                         ids=lambda path: str(path.relative_to(PACKAGE)))  # fmt: skip
def test_many_runs_at_once_are_the_engine_s_business(path):
    assert not MANY_RUNS & set(words(parsed(path)))


def test_the_engine_is_seen_to_use_what_the_others_may_not():
    used = {word for path in FILES if room_of(path) == "engine" for word in words(parsed(path))}
    assert {"vmap", "jit", "donate_argnums", "NamedSharding"} <= used


def importers(package):
    return {room_of(path) for path in FILES if package in packages(path)}


def test_only_models_import_flax():
    assert importers("flax") == {"models"}


def test_sweeps_are_read_and_planned_without_jax():
    heavy = {"jax", "jaxlib", "jaxtyping", "optax", "orbax", "pandas", "pyarrow", "matplotlib", "wandb"}
    assert not heavy & {name for path in FILES if room_of(path) == "sweep" for name in packages(path)}


def test_results_are_read_without_jax():
    assert not {"jax", "optax"} & {name for path in FILES if room_of(path) == "results" for name in packages(path)}


def test_only_pictures_import_matplotlib_and_only_sinks_import_wandb():
    assert importers("matplotlib") <= {"figures", "report"}
    assert importers("wandb") <= {"sinks"}


def test_no_module_is_called_after_nothing():
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")]


def loaded_after(code):
    """Packages in sys.modules after a piece of code, in an interpreter of its own."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    return set(done.stdout.split())


COMMANDS = {
    "help": ["--help"],
    "bad input": ["run", "missing.yaml"],
    "figure help": ["figure", "--help"],
    "bad kind": ["figure", "curvs", "out"],
}
CALL = "from grokjax.cli import main\ntry:\n    main({words})\nexcept SystemExit:\n    pass"
LIGHT = {"import": "import grokjax"} | {name: CALL.format(words=words) for name, words in COMMANDS.items()}


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT)
def test_importing_and_asking_for_help_load_no_jax_wandb_or_matplotlib(code):
    assert not {"jax", "jaxlib", "flax", "optax", "orbax", "wandb", "matplotlib"} & loaded_after(code)


def test_what_is_loaded_is_seen():
    assert "grokjax" in loaded_after("import grokjax")
    assert "jaxlib" in loaded_after("import jaxlib")
