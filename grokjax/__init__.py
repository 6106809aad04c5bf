"""Train thousands of small networks at once in JAX, to study grokking and slingshots.

results = grokjax.run("sweeps/quickstart.yaml", out="runs/quickstart")
results = grokjax.open_results("runs/quickstart")
"""

from grokjax.launch import Interrupted, open_results, replay, run
from grokjax.sweep.load import SweepError

__all__ = ["Interrupted", "SweepError", "open_results", "replay", "run"]
