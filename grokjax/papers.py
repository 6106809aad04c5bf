"""Published results held against runs: which papers there are, training one, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.analysis.claims_file import Claims, Size, lines_of, read_claims
from grokjax.shipped import FULL, PAPERS, shipped_claims, shipped_sweeps
from grokjax.spec.wording import count_text
from grokjax.sweep.load import SweepError
from grokjax.sweep.spelling import did_you_mean

if TYPE_CHECKING:
    from grokjax.analysis.claims import Judged
    from grokjax.results.read import Results
    from grokjax.sweep.run import Sweep

COLUMNS = ("claim", "published", "measured [95 % interval]", "verdict")


@dataclass(frozen=True)
class Paper:
    """A paper at one size: its sweep and its claims."""

    name: str
    size: Size
    sweep: Path
    claims: Claims

    @property
    def missing(self) -> str:
        """What of the user's its sweep needs: `--set task.file=PATH`; none: "" """
        return " ".join(f"--set {key}=PATH" for key in self.claims.needs)


def papers(size: Size = "cpu") -> Iterator[Paper]:
    """All that come with grokjax at a size."""
    for name in shipped_claims():
        yield paper(name, size)


def paper(name: str, size: Size = "cpu") -> Paper:
    """Raises ValueError where there is no such paper, SweepError where its claims are broken."""
    claims, sweeps = shipped_claims(), shipped_sweeps()
    if name not in claims:
        raise ValueError(f"no paper {name!r}{did_you_mean(name, claims)}; there are {', '.join(claims)}")
    folder = FULL if size == "full" else PAPERS
    return Paper(name, size, sweeps[f"{folder}{name}"], read_claims(claims[name]))


def load_paper(chosen: Paper, overrides: Mapping[str, Any]) -> Sweep:
    """Its sweep. Raises SweepError, also where files of the user's are not named."""
    from grokjax.launch import load

    lacking = [key for key in chosen.claims.needs if key not in overrides]
    if lacking:
        needed = "; ".join(f"--set {key}=PATH: {chosen.claims.needs[key]}" for key in lacking)
        raise ValueError(f"{chosen.name} needs files of yours: {needed}")
    return load(chosen.sweep, dict(overrides))


def list_text(folder: Path) -> str:
    """Every paper: what it costs here, and its verdict where results are in a folder of runs."""
    lines = []
    for each in papers():
        arxiv = f" (arXiv {each.claims.arxiv})" if each.claims.arxiv else ""
        lines += [f"{each.name}: {each.claims.citation}{arxiv}", f"  {_cost(each)}; {_standing(each, folder)}"]
    return "\n".join([*lines, "train and judge one: grokjax paper NAME"])


def _cost(each: Paper) -> str:
    """`12 runs, about 0:03:52`"""
    from grokjax.live import duration
    from grokjax.plan.plan import estimated_seconds
    from grokjax.planning import plan_sweep

    if each.claims.needs:
        return f"needs {each.missing}"
    plan = plan_sweep(load_paper(each, {}), trains=False)
    seconds = sum(estimated_seconds(plan, bucket) for bucket in plan.buckets)
    return f"{count_text(len(plan.sweep.runs), 'run')}, at most about {duration(max(1.0, seconds))} here"


def _standing(each: Paper, folder: Path) -> str:
    from grokjax.analysis.claims import judge, overall
    from grokjax.launch import open_results

    where = folder / f"paper_{each.name}"
    if not (where / "plan.json").exists():
        return "not run yet"
    try:
        return overall(judge(each.claims, open_results(where), each.size))
    except (SweepError, OSError) as error:
        return f"{where} cannot be read: {str(error).splitlines()[0]}"


def answer(chosen: Paper, results: Results, overrides: Mapping[str, Any]) -> tuple[str, list[Path]]:
    """The verdict on every claim as text, and the paths of the picture that was drawn of them."""
    from grokjax.analysis.claims import judge, overall
    from grokjax.figures.paper import make_paper

    judged = judge(chosen.claims, results, chosen.size)
    verdict = overall(judged)
    title = f"{chosen.claims.citation}, {chosen.size} size: {verdict}"
    drawn = [each for each in judged if chosen.size in each.claim.sizes]
    paths = make_paper(results, title, chosen.claims.picture, drawn, results.path / "paper")
    changed = {key: value for key, value in overrides.items() if key not in chosen.claims.needs}
    told = [f"note: with {key}={value}, which is not the paper's setup" for key, value in changed.items()]
    lines = [*lines_of(chosen.claims), *told, *table_lines(judged)]
    return "\n".join([*lines, f"{chosen.name}, {chosen.size} size: {verdict}"]), paths


def table_lines(judged: Sequence[Judged]) -> list[str]:
    """A row a claim, and under it what it says."""
    rows = [COLUMNS, *(_row(each) for each in judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    lines = []
    for each, row in zip([None, *judged], rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        lines.append("  ".join(cells).rstrip())
        if each is not None:
            lines.append(f"    {each.claim.what}")
    return lines


def _row(each: Judged) -> tuple[str, str, str, str]:
    published = "" if each.claim.published is None else number(each.claim.published)
    reason = each.why if each.why else each.claim.criterion
    return each.claim.name, published, measured_text(each), f"{each.verdict} ({reason})"


def measured_text(each: Judged) -> str:
    """`150 [140, 160], 4 runs`; of a median that was not reached `over 20,000`, of a ratio to one `under 0.05`."""
    measured = each.measured
    if measured is None:
        return ""
    if not measured.is_known:
        side = "under" if measured.is_below else "over"
        return f"{side} {number(measured.end)}, {count_text(measured.runs, 'run')}"
    has_interval = not (math.isnan(measured.low) or math.isnan(measured.high))
    interval = f" [{number(measured.low)}, {number(measured.high)}]" if has_interval else ""
    return f"{number(measured.value)}{interval}, {count_text(measured.runs, 'run')}"


def number(value: float) -> str:
    """Steps in full, all else in three digits."""
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
