#!/usr/bin/env python3
"""How do delay and outcome change with the share of data trained on, and where does generalization end?
With --ungrokking also: below which share does a network that has generalized forget it?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/critical_fraction.py runs/critical_fraction --ungrokking runs/critical_fraction_ungrokking
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import critical_fraction

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ungrokking = "results of sweeps/questions/critical_fraction_ungrokking.yaml"
    run_question(critical_fraction, parser, grokjax.open_results, ungrokking=ungrokking)
