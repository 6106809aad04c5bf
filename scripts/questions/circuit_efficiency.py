#!/usr/bin/env python3
"""Which labels does a norm fit better, true or random ones? Norm at equal train loss, and train loss at equal norm,
over the size of the train set; the local learning coefficient at equal train loss.

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/circuit_efficiency.py runs/circuit_efficiency
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import circuit_efficiency

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(circuit_efficiency, parser, grokjax.open_results)
