"""Every probe by its name."""

from __future__ import annotations

from collections.abc import Callable

from grokjax.probes.core import Metrics, core
from grokjax.probes.margin import margin
from grokjax.train.state import View

PROBES: dict[str, Callable[[View], Metrics]] = {"core": core, "margin": margin}
