"""Questions that open on a click, and parts of a page that keep themselves fresh: the one slows the other down."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import streamlit as st

_ASK = "ask "
# A question that was answered counts as open until the next drawing, so there has to be one.
_HELD_S = 8


def ask(
    label: str, key: str, *, icon: str, kind: Literal["primary", "secondary"] = "secondary"
) -> "st.delta_generator.DeltaGenerator":
    """Return a box that opens on a click. While it is open, what `keep_fresh` draws moves seldom."""
    return st.popover(label, icon=icon, type=kind, key=f"{_ASK}{key}", on_change="rerun")


def asking() -> bool:
    """Return whether a question is open on this page."""
    return any(bool(value) for name, value in st.session_state.items() if str(name).startswith(_ASK))


def keep_fresh(part: Callable[..., None], every_s: float, *args: Any) -> None:
    """Draw a part of the page, and again every so often; seldom while somebody is being asked something."""
    held = asking()

    @wraps(part)
    def draw(*given: Any) -> None:
        part(*given)
        if asking() != held:
            st.rerun(scope="app")

    live: Any = st.fragment(draw, run_every=_HELD_S if held else every_s)
    live(*args)
