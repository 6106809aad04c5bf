#!/usr/bin/env python3
"""Fraction of runs that generalize, for each optimizer along its learning rate and at the best of its sweep, with 95 %
intervals and how much was tried. Warns where a best lies on the edge of what was swept.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/optimizer_comparison.py runs/optimizers
"""

import pandas as pd

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    paths = run_script("optimizers", __doc__)
    for warning in pd.read_csv(paths[-1])["warning"].dropna():
        print(f"warning: {warning}")
