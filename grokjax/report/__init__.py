"""One HTML file that shows a results directory, to be mailed: no network, no other file.

write_report(results, "report.html")
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokjax.results.read import Results

NAME = "report.html"


def write_report(results: Results, out: Path | None = None) -> Path:
    """Write the report of a results directory, by default DIR/report.html, and return its path.

    Equal results give equal files, but for when they were written. Runs that have not ended are shown as far as they
    are.
    """
    from grokjax.report.page import page
    from grokjax.results.files import write_view

    text = page(results, datetime.now(UTC))
    path = Path(out) if out else results.path / NAME
    write_view(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
