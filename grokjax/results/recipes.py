"""Python that makes a safetensors file of another kind of file, to be printed and run by whoever has what it needs.

Each starts with two lines that name the file, `path`, and what is written, `tensors` (see `recipe`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grokjax.sweep.weights_file import NPZ, PICKLE, PYTORCH, TORCHSCRIPT, convert_command

# Yields every dict of tensors, also a whole module's, that stands anywhere in `content`, and takes that of a network.
STATES = """
def is_array(value):
    return hasattr(value, "shape") and hasattr(value, "dtype")

def state_of(value):
    if "_modules" not in value:
        return {str(name): inner for name, inner in value.items() if is_array(inner)}
    state = {**value.get("_parameters", {}), **value.get("_buffers", {})}
    for name, module in value["_modules"].items():
        state |= {f"{name}.{below}": inner for below, inner in state_of(module or {}).items()}
    return {name: inner for name, inner in state.items() if is_array(inner)}

def states(value, where="content", above=()):
    if isinstance(value, dict) and id(value) not in above:
        yield where, state_of(value)
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, inner in inside if id(value) not in above else ():
        yield from states(inner, f"{where}[{name!r}]", (*above, id(value)))

def likeness(found):
    return any(name.endswith("W_E") for name in found[1]), len(found[1])

where, state = max(reversed(list(states(content))), key=likeness, default=("", {}))  # of equals the last
if not state:
    raise SystemExit(f"no dict of tensors in {path}")

print(f"{len(state)} tensors: {where}")
"""
FROM_PYTORCH = (
    """
import pickle, types
import torch
from safetensors.torch import save_file

class Other(dict):  # stands for whatever is no tensor, a config for instance: none of its code runs
    __hash__ = object.__hash__
    def __new__(cls, *values, **named):
        made = super().__new__(cls)
        made.update(enumerate(values), **named)
        return made
    def __init__(self, *values, **named):
        pass
    def __setstate__(self, state):
        self.update(state if isinstance(state, dict) else {"state": state})
    def extend(self, values):
        self.update(enumerate(values, len(self)))
    def __call__(self, *values, **named):
        return Other(*values, **named)

class Tensors(pickle.Unpickler):
    def find_class(self, module, name):
        rebuilds = module == "torch._utils" and name.startswith("_rebuild_")
        holds = (module, name) in [("collections", "OrderedDict"), ("torch._tensor", "_rebuild_from_type_v2"),
                                   ("torch.nn.parameter", "Parameter"), ("torch", "Tensor"), ("torch", "Size")]
        return super().find_class(module, name) if rebuilds or holds else Other

def load(file, **options):
    return Tensors(file, **options).load()

reader = types.SimpleNamespace(__name__="tensors", Unpickler=Tensors, load=load)
content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)  # only by `Tensors`
"""
    + STATES
    + """
save_file({name: tensor.detach().contiguous().clone() for name, tensor in state.items()}, tensors)
"""
)
FROM_TORCHSCRIPT = """
import torch
from safetensors.torch import save_file

state = torch.jit.load(path, map_location="cpu").state_dict()
save_file({name: tensor.detach().contiguous().clone() for name, tensor in state.items()}, tensors)
"""
FROM_PICKLE = (
    """
import pickle
import numpy as np
from safetensors.numpy import save_file

with open(path, "rb") as file:
    content = pickle.load(file)

content = content.state_dict() if hasattr(content, "state_dict") else content
"""
    + STATES
    + """
save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, tensors)
"""
)
FROM_NPZ = """
import numpy as np
from safetensors.numpy import save_file

arrays = np.load(path)
save_file({name: np.ascontiguousarray(arrays[name]) for name in arrays.files}, tensors)
"""


@dataclass(frozen=True)
class Recipe:
    """needs: packages. runs: what of the file is run by it."""

    python: str
    needs: str
    runs: str


RECIPES = {
    PYTORCH: Recipe(FROM_PYTORCH, "torch and safetensors", "It makes tensors of the file and runs nothing else of it."),
    TORCHSCRIPT: Recipe(
        FROM_TORCHSCRIPT, "torch and safetensors", "It loads the program in the file: if you trust it."
    ),
    PICKLE: Recipe(
        FROM_PICKLE, "numpy, safetensors and what it was written with", "It runs any code in the file: if you trust it."
    ),
    NPZ: Recipe(FROM_NPZ, "numpy and safetensors", "Arrays of Python objects are refused."),
}


def recipe(path: Path, kind: str | None) -> str:
    """What to do with a file of that kind, below what was said of it, or ''. Nothing of the file is executed here."""
    if kind not in RECIPES:
        return ""
    how, tensors = RECIPES[kind], f"{path.stem}-tensors.safetensors"
    files = f"path, tensors = {str(path)!r}, {tensors!r}"
    then = f"then: {convert_command(tensors)}"
    return f"\n\nRun this Python, with {how.needs}; {then}\n{how.runs}\n\n{files}\n{how.python.strip()}\n"
