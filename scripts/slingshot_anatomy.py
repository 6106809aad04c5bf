#!/usr/bin/env python3
"""One slingshot, step by step: the loss spike, the last layer's norm and update, Adam's gain, margins and accuracies.

The steps around it are replayed from the nearest snapshot (stored records, where the run cannot be replayed here).
Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/slingshot_anatomy.py runs/quickstart --event 2 --before 100 --after 300
"""

import argparse

import grokjax
from grokjax.cli.script import run_script

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", metavar="RUN", help="run id; default: the run with the most slingshots")
    parser.add_argument("--event", metavar="N", type=int, help="which of its slingshots, from 1 on (default 1)")
    parser.add_argument("--before", metavar="STEPS", type=int, help="steps shown before it (default 200)")
    parser.add_argument("--after", metavar="STEPS", type=int, help="steps shown after it (default 200)")
    run_script("anatomy", parser, grokjax.open_results, replay=grokjax.replay)
