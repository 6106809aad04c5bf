#!/usr/bin/env python3
"""Step of generalization against weight decay (or another axis), log-log, with the slope of a fitted power law and its
95 % interval. Runs that never generalize count, and are drawn, as censored at their last step.

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/time_to_generalize.py runs/time_to_generalize
"""

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    run_script("times", __doc__)
