"""Tables with units in their heads and instants on the reader's clock."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from ui.console import texts

_ROW_PX, _HEAD_PX, _MOST_PX = 35, 38, 420


def show_rows(rows: Sequence[Mapping[str, Any]], *, key: str, selectable: bool = False) -> int | None:
    """Draw a table; its columns are keys of `texts.COLUMN`. Returns the number of the selected row.

    Where nothing can be selected, nothing is returned.
    """
    frame = pd.DataFrame(list(rows))
    height = min(_MOST_PX, _HEAD_PX + _ROW_PX * max(1, len(rows)))
    options: dict[str, Any] = {
        "hide_index": True,
        "height": height,
        "column_config": {name: _column(name, rows) for name in frame.columns},
        "key": key,
    }
    if not selectable:
        st.dataframe(frame, **options)
        return None
    event: Any = st.dataframe(frame, on_select="rerun", selection_mode="single-row", **options)
    chosen = event.selection.rows
    return chosen[0] if chosen and chosen[0] < len(rows) else None


def _column(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    label = texts.COLUMN.get(name, name)
    sample = next((row[name] for row in rows if row.get(name) is not None), None)
    if isinstance(sample, bool):
        return st.column_config.CheckboxColumn(label)
    if isinstance(sample, datetime):
        return st.column_config.DatetimeColumn(label, format="DD MMM HH:mm:ss")
    if isinstance(sample, float):
        return st.column_config.NumberColumn(label, format="%.2f")
    return st.column_config.Column(label)
