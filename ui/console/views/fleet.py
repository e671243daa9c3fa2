"""Fleet: is everything all right?"""

from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import keep_fresh
from ui.console.charts import CONFIG, QUIET
from ui.console.deck_map import LAYER, deck_of, map_style
from ui.console.desk import Desk, go_to, problems_shown
from ui.console.fleet_charts import (
    backup_figure,
    feeder_figure,
    map_figure,
    site_rows,
    states_of,
    unknown_feeders,
    worst_figure,
)
from ui.console.formats import ago, countdown, kilo, moment, named, now_of, span, words
from ui.console.header import show_header
from ui.console.tables import show_rows

_SEVERITIES = ("critical", "warning", "info")
_TOP = 5
_LOOKED_AT = 50
_ACTIVE = ["approved", "dispatched"]
_EVERY_S = ((300, 2), (1500, 5))
_SLOWEST_S = 10
_MAP_PX = 380


def show_fleet(desk: Desk) -> None:
    """Draw the page; everything but its head refreshes by itself."""
    fleet = show_header(desk, texts.PAGE_FLEET, texts.FLEET_QUESTION)
    if fleet is None:
        st.button(texts.RETRY)
        return
    if not fleet["sites"]:
        st.info(texts.NO_SITES, icon=":material/cell_tower:")
        return
    every = every_s(len(fleet["sites"]))
    for part, seconds in ((_now, every), (_pictures, 5 * every), (_lists, 3 * every), (_table, 5 * every)):
        keep_fresh(part, seconds, desk)


def every_s(sites: int) -> int:
    """Return how often a fleet of a size is drawn anew, s: what a browser draws without stutter."""
    return next((seconds for most, seconds in _EVERY_S if sites <= most), _SLOWEST_S)


def _now(desk: Desk) -> None:
    with problems_shown():
        fleet = desk.fleet()
        _figures(fleet)
        st.caption(
            texts.FLEET_AGE.format(at=moment(fleet["at"], desk.zone), every=every_s(len(fleet["sites"])))
        )


def _pictures(desk: Desk) -> None:
    """Draw what changes over minutes; drawing it as often as the figures would cost the browser for nothing."""
    with problems_shown():
        fleet = desk.fleet()
        left, right = st.columns([3, 2])
        with left:
            _map(fleet)
        with right:
            _feeders(fleet)
        left, right = st.columns(2)
        with left:
            _backup(fleet)
        with right:
            _worst(fleet)


def _lists(desk: Desk) -> None:
    with problems_shown():
        fleet = desk.fleet()
        left, right = st.columns(2)
        with left:
            _plans(desk, fleet)
        with right:
            _expected(desk)
            _incidents(desk, fleet)


def _figures(fleet: Doc) -> None:
    counts, totals = fleet["counts"], fleet["totals"]
    shown = (
        (
            texts.FLEET_SITES,
            texts.FLEET_SITES_OF.format(online=counts["online"], sites=counts["sites"]),
            None,
        ),
        (texts.FLEET_BELOW, str(counts["below_reserve"]), None),
        (texts.FLEET_LOAD, kilo(totals["load_w"], "W"), None),
        (texts.FLEET_GRID, kilo(totals["grid_w"], "W"), None),
        (texts.FLEET_AVAILABLE, kilo(totals["available_w"], "W"), texts.FLEET_AVAILABLE_HELP),
        (texts.FLEET_SPARE, kilo(totals["spare_wh"], "Wh"), texts.FLEET_SPARE_HELP),
    )
    with st.container(horizontal=True):
        for label, value, explained in shown:
            st.metric(label, value, border=True, width=136, help=explained)


def _map(fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_MAP}**")
    if style := map_style():
        _deck(fleet, style)
        return
    event: Any = st.plotly_chart(
        map_figure(fleet["sites"]),
        key="map",
        on_select="rerun",
        selection_mode="points",
        config=CONFIG,
        alt=f"{texts.FLEET_MAP}: {states_of(fleet['sites'])}",
    )
    if event.selection.points:
        go_to("site", site=str(event.selection.points[0]["customdata"]))
    st.caption(texts.FLEET_MAP_NOTE)


def _deck(fleet: Doc, style: str) -> None:
    """Draw the sites over the map that the installation names."""
    event: Any = st.pydeck_chart(
        deck_of(fleet["sites"], style),
        key="deck",
        height=_MAP_PX,
        on_select="rerun",
        selection_mode="single-object",
        alt=f"{texts.FLEET_MAP}: {states_of(fleet['sites'])}",
    )
    if chosen := event.selection.objects.get(LAYER):
        go_to("site", site=str(chosen[0]["site_id"]))
    counts = states_of(fleet["sites"])
    st.caption(
        texts.FLEET_DECK_NOTE.format(
            states=", ".join(f"{named(texts.STATE, name)} {n}" for name, n in counts.items())
        )
    )


def _feeders(fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_FEEDERS}**")
    if not fleet["feeders"]:
        st.info(texts.FLEET_FEEDERS_NONE)
        return
    st.plotly_chart(feeder_figure(fleet["feeders"]), key="feeders", config=QUIET, alt=texts.FLEET_FEEDERS)
    if unknown := unknown_feeders(fleet["feeders"]):
        st.caption(texts.FLEET_FEEDERS_UNKNOWN.format(feeders=", ".join(unknown)))


def _backup(fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_BACKUP}**")
    figure = backup_figure(fleet["sites"])
    if figure is None:
        st.info(texts.FLEET_BACKUP_NONE)
        return
    st.plotly_chart(figure, key="backup", config=QUIET, alt=texts.FLEET_BACKUP)
    st.caption(texts.FLEET_BACKUP_NOTE)


def _worst(fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_WORST}**")
    figure = worst_figure(fleet["sites"])
    if figure is None:
        st.info(texts.FLEET_BACKUP_NONE)
        return
    st.plotly_chart(figure, key="worst", config=QUIET, alt=texts.FLEET_WORST)


def _plans(desk: Desk, fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_PLANS}**")
    active = fleet["active_plans"][:_TOP]
    if not active:
        st.info(texts.FLEET_PLANS_NONE)
        return
    lines = {one["plan_id"]: one for one in desk.api.items("/v1/plans", most=_LOOKED_AT, status=_ACTIVE)}
    for plan_id in active:
        label = plan_label(lines[plan_id], desk.zone) if plan_id in lines else plan_id
        if st.button(label, key=f"plan {plan_id}", icon=":material/bolt:", width="stretch"):
            go_to("plans", plan=plan_id)


def plan_label(line: Doc, zone: ZoneInfo) -> str:
    """Return a plan in one line: what for, when, how many sites."""
    window = span(line["window_start"], line["window_end"], zone)
    return texts.FLEET_PLAN.format(
        objective=named(texts.OBJECTIVE_KINDS, line["objective"]).capitalize(),
        window=window,
        sites=line["sites"],
    )


def _expected(desk: Desk) -> None:
    """Draw what is expected if nobody acts, the nearest first, counting down."""
    st.markdown(f"**{texts.ALERTS_TITLE}**")
    found = desk.api.get("/v1/alerts")["alerts"]
    if not found:
        st.success(texts.ALERTS_NONE, icon=":material/check:")
        return
    for one in found[:_TOP]:
        if st.button(
            alert_label(one),
            key=f"alert {one['incident_id']}",
            icon=":material/hourglass_top:",
            width="stretch",
        ):
            go_to("incidents", incident=one["incident_id"])
    if len(found) > _TOP:
        st.caption(texts.FLEET_MORE_ALERTS.format(count=len(found) - _TOP))


def alert_label(alert: Doc) -> str:
    """Return an alert in one line: how long until then, how bad, where, what."""
    return texts.FLEET_ALERT.format(
        left=countdown(alert["seconds_left"]),
        severity=named(texts.SEVERITY, alert["severity"]),
        kind=words(alert["kind"]),
        subject=alert["subject_id"],
    )


def _incidents(desk: Desk, fleet: Doc) -> None:
    st.markdown(f"**{texts.FLEET_INCIDENTS}**")
    if not sum(fleet["counts"]["open_incidents"].values()):
        st.success(texts.FLEET_INCIDENTS_NONE, icon=":material/check:")
        return
    found = desk.api.items("/v1/incidents", most=100, state="open")
    found.sort(key=lambda one: (_SEVERITIES.index(one["severity"]), -one["score"]))
    for one in found[:_TOP]:
        age = ago(one["since"], now_of(fleet))
        label = texts.FLEET_INCIDENT.format(
            severity=named(texts.SEVERITY, one["severity"]),
            kind=words(one["kind"]),
            site=one["site_id"],
            age=age,
        )
        if st.button(label, key=f"incident {one['incident_id']}", icon=":material/warning:", width="stretch"):
            go_to("incidents", incident=one["incident_id"])


def _table(desk: Desk) -> None:
    with problems_shown():
        sites = desk.fleet()["sites"]
        st.markdown(f"**{texts.FLEET_TABLE}**")
        counts = states_of(sites)
        state = st.pills(
            texts.FLEET_TABLE_FILTER,
            list(counts),
            format_func=lambda one: f"{texts.STATE.get(one, one)} ({counts.get(one, 0)})",
            key="state_filter",
        )
        rows = site_rows(sites, state)
        if not rows:
            st.info(texts.FLEET_NONE_IN_STATE)
            return
        chosen = show_rows(rows, key="sites", selectable=True)
        st.caption(texts.FLEET_TABLE_HINT)
        if chosen is not None:
            go_to("site", site=str(rows[chosen]["site_id"]))
