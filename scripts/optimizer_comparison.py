#!/usr/bin/env python3
"""Fraction of runs that generalize, for each optimizer along its learning rate and at the best of its sweep, with 95 %
intervals and how much was tried. Warns where a best lies on the edge of what was swept.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/optimizer_comparison.py runs/optimizers
"""

import argparse

import pandas as pd

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--by", metavar="KEY", help="arm, or a key that tells optimizers apart; default: arm if several"
    )
    parser.add_argument("--x", metavar="KEY", help="key across; default: optimizer.lr if varied, else a first number")
    parser.add_argument("--arm", help="only this arm of the sweep; default: all")
    paths = run_script("optimizers", parser, grokjax.open_results)
    for warning in pd.read_csv(paths[-1])["warning"].dropna():
        print(f"warning: {warning}")
