#!/usr/bin/env python3
"""The norm of every matrix over log steps, and the equal-norm question: do the matrices on the path to the logits (W_E,
W_V, W_O, W_in, W_out, W_U; every layer of an MLP) end at one norm, and W_Q, W_K and W_pos at another?

One panel a value of the hyperparameter, all matrices in it, with the largest over the least final norm of both sets.
With --each one panel a matrix instead, one color a value.
Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/norm_dynamics.py runs/quickstart --arm grok
"""

import argparse

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", metavar="KEY", help="what tells panels (or colors) apart; default: the arm's axes")
    parser.add_argument("--arm", help="only this arm of the sweep; default: all")
    parser.add_argument("--each", dest="equal", action="store_false", help="one panel a matrix")
    run_script("norms", parser, grokjax.open_results)
