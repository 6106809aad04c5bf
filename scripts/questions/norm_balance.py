#!/usr/bin/env python3
"""Do the matrices on the path to the logits meet at one norm, for every weight decay and eps, from unbalanced starts
too, and before generalization or after it?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/norm_balance.py runs/norm_balance
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import norm_balance

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(norm_balance, parser, grokjax.open_results)
