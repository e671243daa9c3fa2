"""Site: what is happening here?"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, Doc
from ui.console.asking import keep_fresh
from ui.console.charts import CONFIG, QUIET
from ui.console.desk import Desk, asked_for, go_to, problems_shown
from ui.console.fleet_charts import site_rows, state_of
from ui.console.flow_picture import power_flow_picture
from ui.console.formats import ago, harmless, hours, kilo, local, named, now_of, percent, plain, words
from ui.console.header import show_header
from ui.console.health_view import show_battery_health
from ui.console.profile_view import show_profile
from ui.console.site_charts import VIEWS, add_incidents, add_reserve, history_figure, reserve_frac, soc_bar
from ui.console.tables import show_rows
from ui.console.views.events import show_events

_SPANS = {"24 h": timedelta(hours=24), "7 d": timedelta(days=7), "30 d": timedelta(days=30)}
_LIVE_EVERY_S, _HISTORY_EVERY_S = 2, 30
_POINTS = 600
_PLANS_LOOKED_AT = 6
_BADGES: Mapping[str, Any] = {"outage": "red", "fault": "orange", "offline": "gray", "float": "green"}


def show_site(desk: Desk) -> None:
    """Draw the page of the site that the address names, or ask which."""
    fleet = show_header(desk, texts.PAGE_SITE, texts.SITE_QUESTION)
    if fleet is None:
        st.button(texts.RETRY)
        return
    if not fleet["sites"]:
        st.info(texts.NO_SITES)
        return
    site_id = _choose(fleet["sites"])
    with problems_shown():
        entry = desk.api.get(f"/v1/sites/{site_id}")["site"]
        keep_fresh(_live, _LIVE_EVERY_S, desk, site_id, entry)
        keep_fresh(_history, _HISTORY_EVERY_S, desk, site_id, entry)
        show_battery_health(desk, site_id)
        _commands(desk, site_id, fleet)
        _incidents(desk, site_id, now_of(fleet))
        show_events(desk, site_id=site_id)
        _about(entry)
        _peers(site_id, entry, fleet["sites"])
        show_profile(desk, site_id)


def _choose(sites: Sequence[Doc]) -> str:
    names = {one["site_id"]: one["name"] for one in sites}
    asked = asked_for("site")
    ids = list(names)
    chosen = st.selectbox(
        texts.SITE_CHOOSE,
        ids,
        index=ids.index(asked) if asked in names else 0,
        format_func=lambda one: f"{one} · {names[one]}",
        key=f"chosen_site {asked}",
    )
    if asked and asked not in names:
        st.warning(texts.SITE_UNKNOWN.format(site=asked))
    return str(chosen)


def site_in(fleet: Doc, site_id: str) -> Doc | None:
    """Return a site of the fleet."""
    return next((one for one in fleet["sites"] if one["site_id"] == site_id), None)


def _live(desk: Desk, site_id: str, entry: Doc) -> None:
    with problems_shown():
        fleet = desk.fleet()
        site = site_in(fleet, site_id)
        if site is None or site["read_at"] is None:
            st.info(texts.SITE_SILENT, icon=":material/hourglass_empty:")
            return
        now = now_of(fleet)
        _badges(site)
        left, right = st.columns([3, 2])
        with left:
            st.markdown(f"**{texts.SITE_FLOW}**")
            dark = st.context.theme.type == "dark"
            st.html(power_flow_picture(site, _last(desk, site_id, "rectifier_w", now), dark=dark))
            st.caption(texts.SITE_READ.format(ago=ago(site["read_at"], now)))
        with right:
            _figures(site, entry)


def _badges(site: Doc) -> None:
    with st.container(horizontal=True):
        state = state_of(site)
        st.badge(texts.STATE.get(state, state), color=_BADGES.get(state, "blue"))
        st.badge(texts.SITE_MODE.format(mode=named(texts.MODES, site["mode"])), color="gray")
        if site["simulated"]:
            st.badge(texts.SIMULATED, icon=":material/science:", color="violet")
        if site["local_lock"]:
            st.badge(texts.SITE_LOCKED, icon=":material/lock:", color="orange")
        for alarm in site["alarms"]:
            st.badge(harmless(words(alarm)), icon=":material/warning:", color="red")


def _figures(site: Doc, entry: Doc) -> None:
    reserve = reserve_frac(site, entry["battery"]["rated_wh"])
    st.markdown(f"**{texts.SITE_SOC}**")
    if site["soc_frac"] is None:
        st.caption(texts.SITE_NO_SOC)
    else:
        st.plotly_chart(
            soc_bar(site["soc_frac"], reserve), key="soc_bar", config=QUIET, alt=percent(site["soc_frac"])
        )
    with st.container(horizontal=True):
        st.metric(texts.SITE_BACKUP, hours(site["autonomy_h"]), width=130)
        st.metric(texts.SITE_RESERVE, hours(site["reserve_h"]), width=130)
        st.metric(texts.SITE_SPARE, kilo(site["spare_wh"], "Wh"), width=130)
        st.metric(texts.SITE_VOLTAGE, plain(site["bus_v"], "V"), width=130)
        st.metric(texts.SITE_TEMPERATURE, plain(site["battery_c"], "°C"), width=130)
        st.metric(texts.SITE_SOH, percent(site["soh_frac"]), width=130)


def _last(desk: Desk, site_id: str, metric: str, now: datetime) -> float | None:
    """Return a metric's newest value of the last five minutes."""
    start = (now - timedelta(minutes=5)).isoformat()
    found = desk.api.get(f"/v1/sites/{site_id}/series", metric=metric, start=start, points=300)
    return float(found["mean"][-1]) if found["mean"] else None


def _history(desk: Desk, site_id: str, entry: Doc) -> None:
    with problems_shown():
        st.markdown(f"**{texts.SITE_HISTORY}**")
        with st.container(horizontal=True):
            view = st.segmented_control(
                texts.SITE_VIEW,
                list(VIEWS),
                default="power",
                required=True,
                format_func=lambda one: texts.SITE_VIEWS[one],
                key="site_view",
            )
            length = st.segmented_control(
                texts.SITE_SPAN, list(_SPANS), default="24 h", required=True, key="site_span"
            )
        fleet = desk.fleet()
        now = now_of(fleet)
        start = now - _SPANS[length or "24 h"]
        series = {
            metric: desk.api.get(
                f"/v1/sites/{site_id}/series",
                metric=metric,
                start=start.isoformat(),
                end=now.isoformat(),
                points=_POINTS,
            )
            for metric, _ in VIEWS[view or "power"]
            if metric != "pv_w" or entry["pv_rated_w"]
        }
        if not any(one["at"] for one in series.values()):
            st.info(texts.SITE_NO_HISTORY)
            return
        forecast = _forecast(desk, site_id) if view == "power" else None
        figure = history_figure(view or "power", series, desk.zone, now, forecast)
        if view == "soc":
            site = site_in(fleet, site_id)
            add_reserve(figure, reserve_frac(site, entry["battery"]["rated_wh"]) if site else None)
        add_incidents(figure, _site_incidents(desk, site_id), desk.zone, start, now)
        st.plotly_chart(
            figure,
            key="history",
            config=CONFIG,
            alt=f"{texts.SITE_HISTORY}: {texts.SITE_VIEWS[view or 'power']}",
        )
        if view == "power":
            st.caption(_forecast_words(forecast))


def _forecast(desk: Desk, site_id: str) -> Doc | None:
    try:
        found: Doc = desk.api.get(f"/v1/forecasts/{site_id}", quantity="load_w")
    except ApiError:
        return None  # a site has none until the first cycle; the history is worth drawing all the same
    return found


def _forecast_words(forecast: Doc | None) -> str:
    if forecast is None:
        return texts.SITE_NO_FORECAST
    return texts.SITE_FORECAST.format(model=forecast["model"], why=forecast["reason"])


def _site_incidents(desk: Desk, site_id: str) -> list[Doc]:
    return desk.api.items("/v1/incidents", most=50, site_id=site_id, state=["open", "acknowledged", "closed"])


def _commands(desk: Desk, site_id: str, fleet: Doc) -> None:
    st.markdown(f"**{texts.SITE_COMMANDS}**")
    plans = desk.api.items("/v1/plans", most=_PLANS_LOOKED_AT, status=["dispatched", "completed", "aborted"])
    ids = list(dict.fromkeys([*fleet["active_plans"], *(one["plan_id"] for one in plans)]))[:_PLANS_LOOKED_AT]
    rows = [
        {
            "plan_id": plan_id,
            "kind": one["kind"],
            "sent": local(one["sent_at"], desk.zone),
            "verdict": named(texts.VERDICT, one["verdict"] or one["state"]),
            "reason": one["reason"],
            "acknowledged": local(one["acknowledged_at"], desk.zone),
            "read_back_v": one["read_back_v"],
            "limited_wh": one["limited_wh"],
        }
        for plan_id in ids
        for one in desk.api.get(f"/v1/plans/{plan_id}")["commands"]
        if one["site_id"] == site_id
    ]
    if not rows:
        st.info(texts.SITE_NO_COMMANDS)
        return
    chosen = show_rows(rows, key="site_commands", selectable=True)
    if chosen is not None:
        go_to("plans", plan=str(rows[chosen]["plan_id"]))


def _incidents(desk: Desk, site_id: str, now: datetime) -> None:
    found = [one for one in _site_incidents(desk, site_id) if one["state"] != "closed"]
    st.markdown(f"**{texts.SITE_INCIDENTS}**")
    if not found:
        st.success(texts.SITE_NO_INCIDENTS, icon=":material/check:")
    for one in found[:5]:
        label = texts.SITE_INCIDENT.format(
            severity=named(texts.SEVERITY, one["severity"]),
            kind=words(one["kind"]),
            age=ago(one["since"], now),
        )
        if st.button(label, key=f"incident {one['incident_id']}", icon=":material/warning:"):
            go_to("incidents", incident=one["incident_id"])


def _about(entry: Doc) -> None:
    with st.expander(texts.SITE_ABOUT):
        battery, rectifiers, autonomy = entry["battery"], entry["rectifiers"], entry["autonomy"]
        facts = {
            "battery": texts.SITE_FACT_RATED.format(
                chemistry=words(battery["chemistry"]), rated=kilo(battery["rated_wh"], "Wh")
            ),
            "soc_band": texts.SITE_FACT_BAND.format(
                least=percent(battery["soc_min_frac"]), most=percent(battery["soc_max_frac"])
            ),
            "rectifiers": texts.SITE_FACT_RECTIFIERS.format(
                count=rectifiers["count"], power=kilo(rectifiers["module_w"], "W")
            ),
            "must_keep": texts.SITE_FACT_AUTONOMY.format(
                hours=hours(autonomy["autonomy_h"]),
                name=autonomy["name"],
                jurisdiction=autonomy["jurisdiction"],
            ),
            "grid": kilo(entry["grid_import_limit_w"], "W"),
            "pv": kilo(entry["pv_rated_w"], "W"),
            "feeder": entry["feeder_id"],
            "radio_cluster": entry["radio_cluster"],
            "time_zone": entry["time_zone"],
            "dispatch_path": entry["dispatch_path"],
        }
        st.markdown("\n".join(f"- {texts.SITE_FACTS[name]}: **{value}**" for name, value in facts.items()))


def _peers(site_id: str, entry: Doc, sites: Sequence[Doc]) -> None:
    peers = [one for one in sites if one["feeder_id"] == entry["feeder_id"] and one["site_id"] != site_id]
    with st.expander(texts.SITE_PEERS.format(feeder=entry["feeder_id"], count=len(peers))):
        if not peers:
            st.caption(texts.SITE_NO_PEERS)
            return
        rows = site_rows(peers)
        chosen = show_rows(rows, key=f"peers {site_id}", selectable=True)
        if chosen is not None:
            go_to("site", site=str(rows[chosen]["site_id"]))
