#!/usr/bin/env python3
"""Median step of fit and of generalization over two axes of a sweep, as heat maps; where fewer than half of the runs
got there, the cell is hatched and says how many did.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/phase_diagram.py runs/weight_decay --x optimizer.weight_decay --y optimizer.lr
"""

import argparse

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--x", metavar="KEY", help="key across; default: the arm's first axis other than seeds")
    parser.add_argument("--y", metavar="KEY", help="key upwards; default: the second")
    parser.add_argument("--arm", help="which arm of the sweep; default: the first that varies more than seeds")
    run_script("phase", parser, grokjax.open_results)
