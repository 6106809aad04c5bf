#!/usr/bin/env python3
"""Do deeper networks slingshot more often, more times and sooner, and do they generalize? MLPs from wide and shallow to
skinny and deep at about equal parameter count, and transformers of several layers.

Prints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.
Example: scripts/questions/depth_slingshot.py runs/depth_slingshot
"""

import argparse

import grokjax
from grokjax.cli.script import run_question
from grokjax.figures.questions import depth_slingshot

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_question(depth_slingshot, parser, grokjax.open_results)
