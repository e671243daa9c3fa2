"""Health: which batteries need replacing, and when?"""

from datetime import datetime
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import QUIET
from ui.console.desk import Desk, go_to, problems_shown
from ui.console.formats import now_of
from ui.console.header import show_header
from ui.console.health_charts import battery_rows, due, month_figure, soh_figure, unknown
from ui.console.tables import show_rows

_MONTHS = (12, 24, 60)
_A_PAGE = 250
_A_PAGE_WITH_RESISTANCE = 50
_MOST_SITES = 10_000
_FEW_SITES = 100  # resistance is looked at by itself up to here: a second or two
_SEEN = "cellwatt_health"


def show_health(desk: Desk) -> None:
    """Draw what is due by month, the weakest batteries, and the lists behind the pictures."""
    fleet = show_header(desk, texts.PAGE_HEALTH, texts.HEALTH_QUESTION)
    if fleet is None:
        st.button(texts.RETRY)
        return
    if not fleet["sites"]:
        st.info(texts.NO_SITES, icon=":material/battery_unknown:")
        return
    with problems_shown():
        sites = len(fleet["sites"])
        ohms = st.toggle(texts.HEALTH_OHMS, value=sites <= _FEW_SITES, help=texts.HEALTH_OHMS_HELP)
        found = _batteries(desk, sites, now_of(fleet), ohms=ohms)
        st.info(texts.HEALTH_NOTE.format(note=found["note"], days=found["days"]), icon=":material/info:")
        _due(found["items"], now_of(fleet))
        _weakest(found["items"])
        _unknown(found["items"])


def _batteries(desk: Desk, sites: int, now: datetime, *, ohms: bool) -> Doc:
    """Return all batteries; a look at a large fleet takes a while, so one serves a quarter of an hour."""
    key = (now.date(), now.hour, now.minute // 15, desk.name, ohms)
    a_page = _A_PAGE_WITH_RESISTANCE if ohms else _A_PAGE
    kept: Any = st.session_state.get(_SEEN)
    if kept is not None and kept[0] == key:
        found: Doc = kept[1]
        return found
    items: list[Doc] = []
    cursor: str | None = None
    progress = st.progress(0.0, texts.HEALTH_LOOKING.format(done=0, sites=sites))
    for _ in range(_MOST_SITES // a_page):
        page: Doc = desk.api.get("/v1/health/batteries", limit=a_page, cursor=cursor, resistance=ohms)
        items.extend(page["items"])
        cursor = page["next_cursor"]
        share = min(1.0, len(items) / max(1, sites))
        progress.progress(share, texts.HEALTH_LOOKING.format(done=len(items), sites=sites))
        if cursor is None:
            break
    progress.empty()
    found = {"note": page["note"], "days": page["days"], "items": items}
    st.session_state[_SEEN] = (key, found)
    return found


def _due(batteries: list[Doc], now: datetime) -> None:
    months = (
        st.segmented_control(
            texts.HEALTH_WITHIN,
            _MONTHS,
            default=24,
            required=True,
            format_func=lambda one: texts.HEALTH_MONTHS.format(count=one),
            key="health_months",
        )
        or 24
    )
    st.markdown(f"**{texts.HEALTH_DUE}**")
    found = due(batteries, now, months)
    if not found:
        st.success(texts.HEALTH_NONE_DUE.format(months=months), icon=":material/check:")
        return
    st.plotly_chart(
        month_figure(found, now, months),
        key="health_due",
        config=QUIET,
        alt=texts.HEALTH_ALT.format(count=len(found), months=months),
    )
    st.caption(texts.HEALTH_DUE_NOTE)
    rows = battery_rows(found)
    chosen = show_rows(rows, key=f"due {months}", selectable=True)
    st.caption(texts.FLEET_TABLE_HINT)
    if chosen is not None:
        go_to("site", site=str(rows[chosen]["site_id"]))


def _weakest(batteries: list[Doc]) -> None:
    figure = soh_figure(batteries)
    if figure is None:
        return
    st.markdown(f"**{texts.HEALTH_WEAKEST}**")
    st.plotly_chart(figure, key="health_soh", config=QUIET, alt=texts.HEALTH_WEAKEST)
    st.caption(texts.HEALTH_WEAKEST_NOTE)


def _unknown(batteries: list[Doc]) -> None:
    left = unknown(batteries)
    if left:
        with st.expander(texts.HEALTH_UNKNOWN.format(count=len(left))):
            show_rows([{"site_id": one["site_id"], "reason": one["soh_why"]} for one in left], key="unknown")
    with st.expander(texts.HEALTH_ALL.format(count=len(batteries))):
        show_rows(battery_rows(batteries), key="all batteries")
