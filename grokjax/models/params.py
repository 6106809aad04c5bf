"""Parameters: a flat dict of arrays by their names."""

from jaxtyping import Array

Params = dict[str, Array]
