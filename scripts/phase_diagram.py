#!/usr/bin/env python3
"""Median step of fit and of generalization over two axes of a sweep, as heat maps; where fewer than half of the runs
got there, the cell is hatched and says how many did.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/phase_diagram.py runs/weight_decay --x optimizer.weight_decay --y optimizer.lr
"""

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    run_script("phase", __doc__)
