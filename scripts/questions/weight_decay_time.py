#!/usr/bin/env python3
"""Is the delay from fit to generalization proportional to 1 / weight decay, and where does that end?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/weight_decay_time.py runs/weight_decay_time
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import weight_decay_time

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(weight_decay_time, parser, grokjax.open_results)
