"""The page: words and data, escaped, with styles, script and Plotly inside. It loads nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd

from grokjax.analysis.cells import runs_of
from grokjax.analysis.question import question
from grokjax.report.colors import PAPERS
from grokjax.report.more import deflated
from grokjax.report.payload import payload
from grokjax.report.standing import came_to, date_text, happened, last_write, sweep_state
from grokjax.report.words import ArmWords, arm_words
from grokjax.results.read import Results
from grokjax.spec.wording import count_text

SCRIPTS = (
    "store.js", "theme.js", "axes.js", "panels.js", "keys.js", "curves.js", "metrics.js", "runs.js", "slingshots.js",
    "phase.js", "tables.js", "print.js", "link.js", "main.js",
)  # fmt: skip


def page(results: Results, written: datetime) -> str:
    """The report of a results directory as one HTML text. written: when, as it is told."""
    from plotly.offline import get_plotlyjs

    runs = results.runs()
    states = came_to(results, runs)
    plotly, script = get_plotlyjs(), "\n".join(part(name) for name in SCRIPTS)
    arms, shown = arm_words(results, runs), payload(results)
    values = {
        "title": escape(results.manifest.name),
        "policy": policy([plotly, script]),
        "style": f":root {{ --light-paper: {PAPERS[0]}; --dark-paper: {PAPERS[1]}; }}\n{part('report.css')}",
        "written": f"Written {date_text(written)} by grokjax {version()}",
        "state": escape(sweep_state(states, last_write(results))),
        "question": "".join(f"<p>{escape(text)}</p>" for text in question(results.manifest.text)),
        "sweep": "".join(_arm(arm, len(arms) > 1) for arm in arms),
        "happened": "".join(f"<p>{escape(text)}</p>" for text in _happened(results, runs, states)),
        "thresholds": _thresholds(results),
        "yaml": escape(results.manifest.text),
        "overrides": _overrides(results.manifest.overrides),
        "device": escape("; ".join(f"{m.count} {m.kind}, {m.versions}" for m in results.manifest.machines)),
        "data": json_text(shown.data),
        "more": deflated(shown.more),
        "plotly": plotly,
        "script": script,
    }
    return Template(part("report.html")).substitute(values)


def part(name: str) -> str:
    """A file of the page."""
    return (files("grokjax.report") / "page" / name).read_text(encoding="utf-8")


def policy(scripts: Iterable[str]) -> str:
    """What a browser may do with the page: run these scripts and no others, and load nothing from anywhere."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def json_text(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def version() -> str:
    """Of this package; `(version unknown)` where its source is on the path and it is not installed."""
    try:
        return importlib.metadata.version("grokjax")
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def _happened(results: Results, runs: pd.DataFrame, states: Sequence[str]) -> list[str]:
    """A paragraph for each arm: a median over runs of different arms would be one of nothing."""
    arms = list(results.manifest.axes)
    if len(arms) == 1:
        return [happened(runs, states)]
    state_of = dict(zip(runs["run_id"], states, strict=True))
    of_arms = {arm: runs_of(runs, arm) for arm in arms}
    return [
        happened(of_arm, [state_of[run_id] for run_id in of_arm["run_id"]], arm)
        for arm, of_arm in of_arms.items()
        if len(of_arm)
    ]


def _arm(arm: ArmWords, named: bool) -> str:
    head = count_text(arm.runs, "run")
    if named:
        head = f"{escape(arm.name)} <small>{head}</small>"
    swept = "".join(f"<dt>{escape(name)}</dt><dd>{escape(values)}</dd>" for name, values in arm.swept)
    fixed = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in arm.fixed)
    return (
        f'<div class="arm"><h3>{head}</h3><p>{escape(arm.setup)}.</p>'
        + (f'<dl><dt class="lead">Swept</dt><dd class="lead">values</dd>{swept}</dl>' if swept else "")
        + f"<details><summary>Held fixed: {len(arm.fixed)} values</summary><table>{fixed}</table></details></div>"
    )


def _overrides(changed: dict[str, Any]) -> str:
    if not changed:
        return ""
    texts = ", ".join(f"{key}={json.dumps(value)}" for key, value in changed.items())
    return f"<p>Set when it was run: <code>{escape(texts)}</code></p>"


def _thresholds(results: Results) -> str:
    """Fit and generalization in words, where all runs share what they mean."""
    common = results.manifest.common
    fit, generalization = common.get("events.fit"), common.get("events.generalization")
    if fit is None or generalization is None:
        return "Fit and generalization are as the sweep file defines them"
    hold = common.get("events.hold", 1)
    held = f", held for {hold} records" if hold != 1 else ""
    return escape(f"Train accuracy ≥ {fit} is fit, test accuracy ≥ {generalization} is generalized{held}")
