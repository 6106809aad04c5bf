#!/usr/bin/env python3
"""Step of generalization against weight decay (or another axis), log-log, with the slope of a fitted power law and its
95 % interval. Runs that never generalize count, and are drawn, as censored at their last step.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/time_to_generalize.py runs/time_to_generalize
"""

import argparse

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--x", metavar="KEY", help="key across; default: weight decay if varied, else a first number")
    parser.add_argument("--by", metavar="KEY", help="key that colors, each value with its own fit; default: none")
    parser.add_argument("--arm", help="which arm of the sweep; default: the first that varies the key")
    parser.add_argument(
        "--measure", choices=["generalization_step", "delay"], help="delay: steps from fit on; default: from step 0 on"
    )
    run_script("times", parser, grokjax.open_results)
