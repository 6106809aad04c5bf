#!/usr/bin/env python3
"""Does SGD with momentum grok once its learning rate is swept, with a start put right matrix by matrix, with gradients
clipped or normalized? Which matrix grows first where training blows up?

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/sgd_momentum.py runs/sgd_momentum
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import sgd_momentum

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(sgd_momentum, parser, grokjax.open_results)
