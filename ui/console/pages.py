"""Which pages there are, each answering one question."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.desk import Desk, seated
from ui.console.views.fleet import show_fleet


def all_pages() -> dict[str, dict[str, Any]]:
    """Return the pages by section and name."""
    return {
        texts.SECTION_NOW: {
            "fleet": st.Page(
                page(show_fleet, "fleet"), title=texts.PAGE_FLEET, icon=":material/cell_tower:", url_path="fleet", default=True
            ),
        },
    }  # fmt: skip


def page(show: Callable[[Desk], None], name: str) -> Callable[[], None]:
    """Return a page of Streamlit that shows something to whoever sits here."""

    def run() -> None:
        desk = seated()
        if desk is not None:
            show(desk)

    run.__name__ = name
    return run
