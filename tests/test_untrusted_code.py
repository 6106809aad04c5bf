"""Nothing in the package runs what it reads: no module and no call that could, but for those listed as fine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import grokjax

PACKAGE = Path(grokjax.__file__).parent
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "subprocess", "torch", "yaml",
         "code", "ctypes", "runpy", "pty", "multiprocessing", "tarfile", "zipfile",
         "socketserver", "http", "urllib"}  # fmt: skip
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "spawnv",
    "execv",
    "read_pickle",
    "import_module",
    "exec_module",
}
FINE = {  # re.compile is an attribute of re
    ("figures/__init__.py", "import_module"),  # of names in a closed table
    ("spec/own.py", "exec_module"),  # the user's own file, where a sweep of theirs names it in `uses`
    ("opened.py", "import_module"),  # of names that stand there
    ("cluster/on_ray.py", "import_module"),  # Ray, where it is installed
    ("results/bucket.py", "import_module"),  # fsspec and what it needs for s3 and gs, where they are installed
    ("cluster/on_slurm.py", "subprocess"),  # sbatch and squeue, given files that grokjax made, without a shell
    ("results/bundle.py", "tarfile"),  # writes archives, and opens none
    ("results/bundle.py", "zipfile"),
    ("sweep/weights_file.py", "zipfile"),  # the names of what is in one, nothing is taken out
    ("spec/files.py", "zipfile"),  # the error of one that is damaged
    ("spec/files.py", "pickle"),  # NumPy's loader, which is told to allow none
    ("sinks/logs.py", "subprocess"),  # `wandb sync`, given paths that grokjax made, without a shell
}


def _used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]
            yield from (alias.name for alias in node.names if alias.name in CALLS)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(node: ast.Call) -> Iterator[str]:
    function = node.func
    if isinstance(function, ast.Name):
        yield function.id
    elif isinstance(function, ast.Attribute):
        of = function.value.id if isinstance(function.value, ast.Name) else ""
        if not (function.attr == "compile" and of != "builtins"):
            yield function.attr
        yield from ("pickle" for word in node.keywords if word.arg == "allow_pickle")
        yield from ("pickle" for _ in [0] if (of, function.attr) == ("np", "load"))


def test_nothing_in_the_package_can_run_what_it_reads():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        used = set(_used(ast.parse(path.read_text(encoding="utf-8"))))
        found |= {(path.relative_to(PACKAGE).as_posix(), name) for name in used & (NEVER | CALLS)}
    assert found == FINE
