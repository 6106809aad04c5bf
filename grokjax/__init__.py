"""Train thousands of small networks at once in JAX, to study grokking and slingshots.

results = grokjax.run("sweeps/quickstart.yaml", out="runs/quickstart")
results = grokjax.open_results("runs/quickstart")
"""

from importlib.metadata import PackageNotFoundError, version

from grokjax.api import run
from grokjax.launch import open_results, replay
from grokjax.stopping import Interrupted
from grokjax.sweep.load import SweepError

__all__ = ["Interrupted", "SweepError", "__version__", "open_results", "replay", "run"]

try:
    __version__ = version("grokjax")
except PackageNotFoundError:  # its source is on the path, and it is not installed
    __version__ = "unknown"
