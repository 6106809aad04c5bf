"""The question that a sweep asks, in the words of who wrote it."""

from __future__ import annotations

import re
from pathlib import Path

from grokjax.sweep.load import SweepError, parse_sweep

HEADING = re.compile(r"\w[\w ,-]{0,30}:\s")
ASIDES = ("cost:", "look at it with:", "first train", "usage:")  # of a sweep's comment: for who runs it


def question(sweep: str) -> list[str]:
    """Paragraphs: the `description` of a sweep file, or else the comment that it begins with, without what it costs and
    how to run it."""
    described = _described(sweep)
    paragraphs = described.split("\n\n") if described else _comment(sweep)
    kept = [text for text in paragraphs if text.strip() and not text.lower().startswith(ASIDES)]
    return [_asked(re.sub(r"\s+", " ", text).strip()) for text in kept]


def _described(sweep: str) -> str:
    try:
        text = parse_sweep(sweep, "sweep.yaml", Path()).data.get("description")
    except SweepError:  # of a version that wrote sweeps otherwise: its comment may be read all the same
        return ""
    return text if isinstance(text, str) else ""


def _comment(sweep: str) -> list[str]:
    paragraphs: list[str] = []
    for line in sweep.lstrip().splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if not paragraphs or not text or HEADING.match(text) or text.lower().startswith(ASIDES):
            paragraphs.append(text)
        else:
            paragraphs[-1] = f"{paragraphs[-1]} {text}".strip()
    return paragraphs


def _asked(text: str) -> str:
    asked = re.sub(r"^Question:\s*", "", text)
    return text if asked == text else asked[:1].upper() + asked[1:]
