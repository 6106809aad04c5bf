"""The sweeps and scripts that come with grokjax: in the checkout, or where it was installed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SHARED = "share/grokjax/"  # where an installed grokjax has them
PAPERS, FULL, CLAIMS = "papers/", "papers/full/", "papers/claims/"


def shipped_sweeps() -> dict[str, Path]:
    """Name -> file of the sweeps that come with grokjax: `quickstart`, `questions/effective_lr`, ..."""
    return {name: path for name, path in _come_with_it("sweeps", ".yaml").items() if not name.startswith(CLAIMS)}


def shipped_claims() -> dict[str, Path]:
    """Name -> file of the claims of papers."""
    files = _come_with_it("sweeps", ".yaml")
    return {name.removeprefix(CLAIMS): path for name, path in files.items() if name.startswith(CLAIMS)}


def scripts() -> dict[str, Path]:
    """Name -> file of the scripts that come with grokjax; an answer is called like its sweep."""
    return _come_with_it("scripts", ".py")


def _come_with_it(folder: str, suffix: str) -> dict[str, Path]:
    """The files of a folder of the checkout, or else those that were installed."""
    if (CHECKOUT / "pyproject.toml").exists():
        root = CHECKOUT / folder
        return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob(f"*{suffix}"))}
    found = {}
    for file in metadata.files("grokjax") or []:
        _, shared, inside = file.as_posix().partition(f"{SHARED}{folder}/")
        if shared and file.suffix == suffix:
            found[inside.removesuffix(suffix)] = Path(str(file.locate())).resolve()
    return found
