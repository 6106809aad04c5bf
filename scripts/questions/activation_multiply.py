#!/usr/bin/env python3
"""Which activation generalizes soonest on modular addition, and how nearly do its neurons come to compute squares?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/activation_multiply.py runs/activation_multiply
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import activation_multiply

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(activation_multiply, parser, grokjax.open_results)
