#!/usr/bin/env python3
"""Is a large fixed norm only a tiny learning rate? Norm, learning rate and output temperature, under Adam and SGD, and
arms in which the learning rate grows with the norm so that a step turns the parameters by the same angle.

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/effective_lr.py runs/effective_lr
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import effective_lr

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(effective_lr, parser, grokjax.open_results)
