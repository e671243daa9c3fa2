"""What sites and ingest told of by themselves, as a list on other pages."""

import streamlit as st

from ui.console import texts
from ui.console.desk import Desk
from ui.console.formats import harmless, local, words
from ui.console.tables import show_rows

_GRAVE = ("spill_full", "readings_missing")
_MOST = 50


def show_events(desk: Desk, *, site_id: str | None = None) -> None:
    """Draw the newest events of a site, or of all; what may cost readings stands above the list."""
    found = desk.api.items("/v1/events", site_id=site_id, most=_MOST)
    st.markdown(f"**{texts.EVENTS_TITLE}**")
    if not found:
        st.caption(texts.EVENTS_NONE)
        return
    for one in [each for each in found if each["kind"] in _GRAVE][:3]:
        st.warning(
            texts.EVENTS_GRAVE.format(
                who=one["site_id"], what=words(one["kind"]), detail=harmless(one["detail"])
            ),
            icon=":material/warning:",
        )
    show_rows(
        [
            {
                "at": local(one["at"], desk.zone),
                "site_id": one["site_id"],
                "kind": words(one["kind"]),
                "says": harmless(one["detail"]),
            }
            for one in found
        ],
        key=f"events {site_id or 'all'}",
    )
