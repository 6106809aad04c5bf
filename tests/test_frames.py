"""Arrow tables as data frames: lists of rows come back as they were."""

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.results.frames import to_arrow, to_pandas

ROWS = st.lists(st.none() | st.lists(st.none() | st.integers(-3, 3), max_size=3), min_size=1, max_size=8)


@given(ROWS)
@settings(deadline=None)
def test_lists_of_any_lengths_and_nulls_come_back(rows):
    table = pa.table({"n": list(range(len(rows))), "of": pa.array(rows, pa.list_(pa.int64()))})
    frame = to_pandas(pa.concat_tables([table[:1], table[1:]]))
    assert frame["of"].tolist() == rows
    assert frame.columns.tolist() == ["n", "of"]


def test_columns_of_mixed_kinds_become_text_and_of_nothing_stay_so():
    frame = pd.DataFrame({"lanes": ["auto", 8], "matrix": pd.Series([None, None], dtype=object), "arms": [["a"], []]})
    back = to_pandas(to_arrow(frame))
    assert back["lanes"].tolist() == ["auto", "8"]
    assert back["matrix"].tolist() == [None, None]
    assert back["arms"].tolist() == [["a"], []]
