"""SLURM: a job array whose tasks are workers, after a job that plans the sweep on such a node. Submit and return.

A task that nears its time limit stops at a segment and is requeued; a preempted one is requeued by SLURM; one that is
cancelled stays cancelled. Whatever is left is submitted again by the same command.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grokjax.results.files import Damaged, read_json, write_json
from grokjax.results.workers import SLURM

MOST_PARTS = 1000  # of a job array
SUBMITTED = "slurm.json"
GRACE_SECONDS = 300  # before its time limit a task is told to stop; where the limit is short, a fourth of that
SLURM_TIME = r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?"  # days-hours:minutes:seconds, or minutes:seconds
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output="{logs}/%A_%a.log"
#SBATCH --signal=B:USR1@{grace}
{options}
# USR1: the time limit is near, so this task alone is put into the queue again. TERM: cancelled, or preempted, and then
# SLURM itself requeues it; a script that did so could not be cancelled.
again() {{ kill -TERM $pid; wait $pid; scontrol requeue ${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID; sleep 30; }}
over() {{ kill -TERM $pid 2>/dev/null; wait $pid; exit 75; }}
trap again USR1
trap over TERM
{work} --part $SLURM_ARRAY_TASK_ID/{count} &
pid=$!
wait $pid
"""
PLAN_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}-plan
#SBATCH --output="{logs}/plan-%j.log"
{options}
{plan}
"""


class SlurmError(Exception):
    """SLURM does not take a job, or is not there; says what it said."""


@dataclass(frozen=True)
class Submitted:
    """Jobs of a directory: the array of workers, and the one that plans, if there had to be one."""

    array: str
    plan: str | None
    parts: int


def submit(
    out: Path, name: str, workers: int, sbatch: str, plan: Sequence[str] | None, other_device: bool
) -> Submitted:
    """Submit what trains a directory.

    workers: tasks of the array. sbatch: options, as `partition=gpu gres=gpu:h100:1 time=04:00:00`. plan: the command
    that plans the directory, to be run on such a node first; None: it is planned. Raises SlurmError, ValueError for
    options that are none.
    """
    parts = min(workers, MOST_PARTS)
    texts = {"name": shlex.quote(name), "logs": out.absolute() / SLURM, "options": _options(sbatch)}
    _check_command("sbatch")
    (out / SLURM).mkdir(parents=True, exist_ok=True)
    planned = None
    if plan:
        planned = _sbatch(PLAN_SCRIPT.format(plan=shlex.join(plan), **texts), out / SLURM / "plan.sh", ())
    command = [*this_program(), "work", str(out.absolute())]
    command += ["--other-device"] if other_device else []
    grace = grace_seconds(sbatch, os.environ)
    script = SCRIPT.format(work=shlex.join(command), last=parts - 1, count=parts, grace=grace, **texts)
    after = (f"--dependency=afterok:{planned}", "--kill-on-invalid-dep=yes") if planned else ()
    submitted = Submitted(_sbatch(script, out / SLURM / "work.sh", after), planned, parts)
    write_json(out / SLURM / SUBMITTED, asdict(submitted))
    return submitted


def this_program() -> list[str]:
    """The command that runs grokjax with the Python of this process, wherever a job begins."""
    return [sys.executable, "-m", "grokjax.cli"]


def grace_seconds(sbatch: str, environment: Mapping[str, str]) -> int:
    """How long before its time limit a task is told to stop. A task that was told as soon as it began would never come
    to train; SLURM looks at limits now and then only, so it may tell up to a minute before."""
    asked = re.search(r"(?:^|\s)-*time=(\S+)", sbatch)
    limit = environment.get("SBATCH_TIMELIMIT") or (asked[1] if asked else "")  # the environment wins over a script
    seconds = _seconds(limit)
    return min(GRACE_SECONDS, max(seconds // 4, 1)) if seconds else GRACE_SECONDS


def _seconds(limit: str) -> int | None:
    """Of a time as SLURM writes it; None: no limit, or no time."""
    found = re.fullmatch(SLURM_TIME, limit)
    if not found:
        return None
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found[1] or found[4]:
        return days * 86_400 + first * 3600 + second * 60 + third
    return first * 60 + second


def _options(text: str) -> str:
    lines = []
    for word in shlex.split(text):
        if not re.fullmatch(r"-*[a-zA-Z][a-zA-Z-]*(=\S+)?", word):
            raise ValueError(f"--sbatch has words like partition=gpu, as sbatch takes them after --, not {word!r}")
        lines.append(f"#SBATCH --{word.lstrip('-')}")
    return "\n".join(lines)


def _sbatch(script: str, path: Path, options: Sequence[str]) -> str:
    path.write_text(script, encoding="utf-8")
    return _said(["sbatch", "--parsable", *options, str(path)]).split(";")[0]


def _check_command(name: str) -> None:
    if shutil.which(name) is None:
        raise SlurmError(f"there is no {name} here: run this on a host that submits jobs to SLURM")


def _said(command: Sequence[str]) -> str:
    _check_command(command[0])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SlurmError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def last_submitted(out: Path) -> Submitted | None:
    """The jobs that were submitted last for a directory."""
    try:
        stored = read_json(out / SLURM / SUBMITTED)
        return Submitted(str(stored["array"]), stored["plan"] and str(stored["plan"]), int(stored["parts"]))
    except (OSError, Damaged, LookupError, TypeError, ValueError):
        return None


def standing(submitted: Submitted) -> Mapping[str, int]:
    """State -> tasks that are in it, of those that have not ended. Raises SlurmError."""
    jobs = ",".join(job for job in (submitted.array, submitted.plan) if job)
    try:
        said = _said(["squeue", "--noheader", "--array", f"--jobs={jobs}", "--format=%T"])
    except SlurmError as error:
        if "Invalid job id" in str(error):  # they ended long ago
            return {}
        raise
    states: dict[str, int] = {}
    for state in said.splitlines():
        states[state.strip().lower()] = states.get(state.strip().lower(), 0) + 1
    return states


def standing_text(states: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())
