"""How results look in a notebook: what was swept, what the runs came to, and their curves."""

from __future__ import annotations

from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from grokjax.analysis.cell_summary import Summary, summarize
from grokjax.analysis.events import OUTCOMES
from grokjax.figures import draw

if TYPE_CHECKING:
    from grokjax.results.read import Results

MOST_ROWS = 12  # of the table


def html(results: Results) -> str:
    """A page of a few lines, a table and a picture."""
    summary = Summary(summarize(results))
    cells = len(summary)
    table = summary.head(MOST_ROWS).pipe(Summary).as_text().to_html(index=False, border=0)
    more = f"<p>{cells - MOST_ROWS} more cells: <code>results.summary()</code></p>" if cells > MOST_ROWS else ""
    return "\n".join(
        [
            f"<h4>{escape(results.manifest.name)}</h4>",
            _happened(results),
            _swept(results),
            table,
            more,
            _picture(results),
        ]
    )


def _happened(results: Results) -> str:
    runs = results.runs()
    counts = runs["outcome"].value_counts()
    parts = [f"{counts[name]} {words}" for name, words in OUTCOMES.items() if name in counts]
    going = int(runs["outcome"].isna().sum())
    parts += [f"{going} not ended"] if going else []
    return f"<p>{len(runs)} runs: {escape(', '.join(parts))}. In <code>{escape(str(results.path))}</code></p>"


def _swept(results: Results) -> str:
    axes = {key for keys in results.manifest.axes.values() for key in keys}
    runs = results.runs()
    keys = [str(key) for key in runs if key in axes]
    parts = [f"<code>{escape(key)}</code> ({runs[key].map(str).nunique()} values)" for key in keys]
    return f"<p>Swept: {', '.join(parts) or 'nothing'}</p>"


def _picture(results: Results) -> str:
    try:
        figure = draw("curves", results)
    except ValueError as error:  # no record yet, or too many values for colors
        return f"<p>{escape(str(error))}</p>"
    svg = StringIO()
    figure.savefig(svg, format="svg")
    text = svg.getvalue()
    return text[text.index("<svg") :]
