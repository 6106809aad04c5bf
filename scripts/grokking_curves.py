#!/usr/bin/env python3
"""Train and test loss and accuracy of a sweep over log steps: median and band over seeds, one color a value of a
hyperparameter.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/grokking_curves.py runs/quickstart --arm grok --by optimizer.weight_decay
"""

import argparse

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", metavar="KEY", help="what is colored, as optimizer.lr; default: the arm's axes")
    parser.add_argument("--arm", help="only this arm of the sweep; default: all")
    run_script("curves", parser, grokjax.open_results)
