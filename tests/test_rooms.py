"""The house: a room imports only rooms above it, and heavy packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from grokjax import spec
from grokjax.spec.families import FAMILIES

PACKAGE = Path(__file__).parents[1] / "grokjax"
# from the top of the house to its end; rooms in one tuple are beside each other and know nothing of each other
FLOORS = [
    ("spec",),
    ("sweep",),
    ("plan",),
    ("tasks",),
    ("models",),
    ("train",),
    ("probes",),
    ("results",),
    ("engine",),
    ("aot",),
    ("analysis",),
    ("figures",),
    ("report", "sinks"),
    ("stopping", "home", "shipped"),
    ("planning",),
    ("opened", "ahead"),
    ("training",),
    ("cluster",),
    ("launch",),
    ("bench",),
    ("live",),
    ("standing", "tables", "comparison", "compiled", "papers"),
    ("api",),
    ("cli", "__main__"),
    ("__init__",),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MANY_RUNS = {
    "vmap", "jit", "pmap", "pjit", "shard_map", "Mesh", "make_mesh", "NamedSharding", "PartitionSpec",
    "with_sharding_constraint", "donate_argnums", "donate_argnames", "SingleDeviceSharding",
}  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def subclasses(cls):
    for inner in cls.__subclasses__():
        yield inner
        yield from subclasses(inner)


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
    assert wrong_imports(ast.parse(code), PACKAGE / "plan" / "cost.py")
    above = "from grokjax.sweep import expand\nfrom grokjax.spec.run import RunSpec\nimport jax"
    assert not wrong_imports(ast.parse(above), PACKAGE / "plan" / "cost.py")


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
    light = [path for path in FILES if room_of(path) in ("spec", "sweep", "plan")]
    assert {room_of(path) for path in light} == {"spec", "sweep", "plan"}
    assert not heavy & {name for path in light for name in packages(path)}


def test_results_are_read_without_jax():
    assert not {"jax", "optax"} & {name for path in FILES if room_of(path) == "results" for name in packages(path)}


def test_only_pictures_import_matplotlib_and_only_sinks_import_wandb():
    assert importers("matplotlib") <= {"figures", "report"}
    assert importers("wandb") <= {"sinks"}


def test_no_module_is_called_after_nothing():
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")]


# A family is its class in spec/ and its function in the dictionary of its kind; only there may code ask which it is.
OWN_FILES = {
    "model": {f"models/{name}.py" for name in ("transformer", "three_tokens", "mlp", "textbook")},
    "loss": {"train/losses.py"},
    "optimizer": {"train/optimizers.py"},
    "schedule": {"train/schedules.py"},
    "filter": {"train/filters.py"},
    "constraint": {"train/constraints.py"},
}
OWN_ROOMS = {"task": "tasks", "probe": "probes"}
BASES = {kind.capitalize(): kind for kind in FAMILIES}
# every other family class, those between a kind's base and its families too -> its kind
CLASSES = {cls.__name__: kind for name, kind in BASES.items() for cls in subclasses(getattr(spec, name))}
# names of families -> their kinds
NAMES: dict[str, set[str]] = {}
for kind, families in FAMILIES.items():
    for name in families:
        NAMES.setdefault(name, set()).add(kind)


def is_own(path, kind):
    where = path.relative_to(PACKAGE).as_posix()
    room = room_of(path)
    return room == "spec" or room == OWN_ROOMS.get(kind) or where in OWN_FILES.get(kind, ())


def asked_classes(node):
    """What a node asks a value to be an instance of."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, wanted]):
            return wanted
        case ast.Compare(left=ast.Call(func=ast.Name(id="type")), comparators=[wanted]):
            return wanted
        case ast.MatchClass(cls=wanted):
            return wanted
    return None


def is_name_of_a_family(node):
    """`x.name`, or something that is looked up by a key that ends in `.name`."""
    if isinstance(node, ast.Attribute):
        return node.attr == "name"
    keys = [key.value for key in ast.walk(node) if isinstance(key, ast.Constant)]
    return any(isinstance(key, str) and key.endswith(".name") for key in keys)


def asked_names(node):
    """Texts that a node compares the name of a family with."""
    if isinstance(node, ast.Compare) and any(map(is_name_of_a_family, (node.left, *node.comparators))):
        asked = [node.left, *node.comparators]
    elif isinstance(node, ast.Match) and is_name_of_a_family(node.subject):
        asked = [case.pattern for case in node.cases]
    elif isinstance(node, ast.Subscript) and is_name_of_a_family(node.slice) and isinstance(node.value, ast.Dict):
        asked = node.value.keys
    else:
        return set()
    constants = [inner for one in asked if one for inner in ast.walk(one) if isinstance(inner, ast.Constant)]
    return {constant.value for constant in constants if isinstance(constant.value, str)}


def questions_of_families(tree, path):
    """Lines where code asks which family something is, and may not."""
    found = set()
    for node in ast.walk(tree):
        wanted = asked_classes(node)
        kinds = {CLASSES[word] for word in words(wanted) if word in CLASSES} if wanted else set()
        kinds |= {kind for name in asked_names(node) for kind in NAMES.get(name, ())}
        if kinds and not any(is_own(path, kind) for kind in kinds):
            found.add(f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_a_family_s_own_files_ask_which_family_it_is(path):
    assert not questions_of_families(parsed(path), path)


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(spec.model, Transformer)",
        "isinstance(spec.optimizer, (spec.SGD, str))",
        "isinstance(task, Modular | None)",
        "type(model) is MLP",
        "match loss:\n    case CrossEntropy(precision='exact'):\n        pass",
        "spec.optimizer.name == 'adamw'",
        "'mse' != loss.name",
        "run.spec.optimizer.name in ('adam', 'adamw')",
        "fixed.get('model.name') == 'mlp'",
        "values['optimizer.name'] in {'sgd'}",
        "[row['model.name'] for row in rows] == ['transformer']",
        "match spec.loss.name:\n    case 'mse' | 'cross_entropy':\n        pass",
        "{'adam': 1, 'sgd': 2}[spec.optimizer.name]",
    ],
)
def test_a_question_of_a_family_would_be_seen(code):
    tree = ast.parse(code)
    assert questions_of_families(tree, PACKAGE / "results" / "read.py")
    assert questions_of_families(tree, PACKAGE / "models" / "network.py")
    assert not questions_of_families(tree, PACKAGE / "spec" / "models.py")


def test_a_kind_s_own_file_asks_about_its_own_kind_only():
    loss = ast.parse("isinstance(loss, MSE)")
    assert not questions_of_families(loss, PACKAGE / "train" / "losses.py")
    assert questions_of_families(loss, PACKAGE / "train" / "optimizers.py")
    assert questions_of_families(loss, PACKAGE / "probes" / "softmax.py")
    for kind, files in OWN_FILES.items():
        assert all((PACKAGE / file).exists() for file in files), kind


def test_questions_that_are_of_no_family_are_allowed():
    for code in ("isinstance(spec.model, Model)", "name == 'adam'", "arm.name == 'main'", "scope == 'none'"):
        assert not questions_of_families(ast.parse(code), PACKAGE / "results" / "read.py")


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
