#!/usr/bin/env python3
"""What makes a run slingshot: the loss's precision, Adam's eps and b2, or the sum of the logit gradient over classes?
With --forks also: do runs that are kept from slingshotting generalize less?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/slingshot_cause.py runs/slingshot_cause --forks runs/slingshot_cause_forks
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import slingshot_cause

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    forks = "results of sweeps/questions/slingshot_cause_forks.yaml"
    run_question(slingshot_cause, parser, grokjax.open_results, forks=forks)
