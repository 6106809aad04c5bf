#!/usr/bin/env python3
"""The norm of every matrix over log steps, and the equal-norm question: do the matrices on the path to the logits (W_E,
W_V, W_O, W_in, W_out, W_U; every layer of an MLP) end at one norm, and W_Q, W_K and W_pos at another?

One panel a value of the hyperparameter, all matrices in it, with the largest over the least final norm of both sets.
With --each (or --no-equal) one panel a matrix instead, one color a value.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/norm_dynamics.py runs/quickstart --arm grok
"""

import sys

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    sys.argv = ["--no-equal" if word == "--each" else word for word in sys.argv]
    run_script("norms", __doc__, equal=True)
