#!/usr/bin/env python3
"""Does a larger embedding gradient remove the delay between fit and generalization? W_E at other starts and learning
rates, frozen too, at two widths and weight decays.

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/embedding_scale.py runs/embedding_scale
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import embedding_scale

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(embedding_scale, parser, grokjax.open_results)
