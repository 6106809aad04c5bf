#!/usr/bin/env python3
"""One slingshot, step by step: the loss spike, the last layer's norm and update, Adam's gain, margins and accuracies.

The steps around it are replayed from the nearest snapshot (stored records, where the run cannot be replayed here).

Writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.

Example: scripts/slingshot_anatomy.py runs/quickstart --event 2 --before 100 --after 300
"""

from grokjax.cli.figures import run_script

if __name__ == "__main__":
    run_script("anatomy", __doc__)
