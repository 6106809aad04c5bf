#!/usr/bin/env python3
"""Train and test loss and accuracy of a sweep over log steps: median and band over seeds, one color a value of a
hyperparameter.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/grokking_curves.py runs/quickstart --arm grok --by optimizer.weight_decay
"""

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    run_script("curves", __doc__)
