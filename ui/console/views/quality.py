"""Data quality: how far can I believe what I see?"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import keep_fresh
from ui.console.desk import Desk, go_to, problems_shown
from ui.console.formats import local, percent, words
from ui.console.header import show_header
from ui.console.tables import show_rows
from ui.console.views.events import show_events

_EVERY_S = 10


def show_quality(desk: Desk) -> None:
    """Draw the scores, the worst sites and what was set aside."""
    show_header(desk, texts.PAGE_QUALITY, texts.QUALITY_QUESTION)
    keep_fresh(_live, _EVERY_S, desk)
    keep_fresh(_told, _EVERY_S, desk)


def _told(desk: Desk) -> None:
    with problems_shown():
        show_events(desk)


def _live(desk: Desk) -> None:
    with problems_shown():
        found = desk.api.get("/v1/quality")
        if not found["sites"]:
            st.info(texts.QUALITY_NONE, icon=":material/hourglass_empty:")
            return
        with st.container(horizontal=True):
            st.metric(texts.QUALITY_SITES, found["sites"], border=True, width=160)
            st.metric(texts.QUALITY_MEAN, percent(found["mean_score"], 1), border=True, width=160)
            st.metric(
                texts.QUALITY_BELOW,
                found["below_dispatch"],
                border=True,
                width=200,
                help=texts.QUALITY_NEEDED.format(needed=percent(found["needed_for_dispatch"])),
            )
        st.markdown(f"**{texts.QUALITY_WORST}**")
        doubtful = [one for one in found["worst"] if one["score"] < 1.0 or one["reasons"]]
        if not doubtful:
            st.success(texts.QUALITY_GOOD, icon=":material/check:")
        else:
            rows = quality_rows(doubtful, desk)
            chosen = show_rows(rows, key="quality", selectable=True)
            if chosen is not None:
                go_to("site", site=str(rows[chosen]["site_id"]))
        st.markdown(f"**{texts.QUALITY_ASIDE}**")
        if not found["quarantined"]:
            st.success(texts.QUALITY_NOTHING_ASIDE, icon=":material/check:")
            return
        show_rows(
            [
                {
                    "reason": words(one["reason"]),
                    "count": one["count"],
                    "last": local(one["last_at"], desk.zone),
                }
                for one in found["quarantined"]
            ],
            key="quarantined",
        )


def quality_rows(sites: Sequence[Doc], desk: Desk) -> list[dict[str, Any]]:
    """Return the doubtful sites with their reasons."""
    return [
        {
            "site_id": one["site_id"],
            "score": float(one["score"]),
            "doubts": doubts_of(one["reasons"]),
            "at": local(one["at"], desk.zone),
        }
        for one in sites
    ]


def doubts_of(reasons: Mapping[str, str]) -> str:
    """Return why a site's fields are doubted."""
    return ", ".join(f"{name}: {words(why)}" for name, why in reasons.items()) or "–"
