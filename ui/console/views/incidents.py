"""Incidents: what is wrong, how sure is it, who looks after it?"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import ask, keep_fresh
from ui.console.desk import Desk, asked_for, attempt, go_to, problems_shown
from ui.console.formats import ago, countdown, harmless, local, moment, named, now_of, words
from ui.console.header import show_header
from ui.console.plan_card import reason_button
from ui.console.tables import show_rows

_EVERY_S = 10
_MOST = 300
_ORDER = ("critical", "warning", "info")
_COLOURS: Mapping[str, Any] = {"critical": "red", "warning": "orange", "info": "blue"}


def show_incidents(desk: Desk) -> None:
    """Draw the list, or the incident that the address names."""
    fleet = show_header(desk, texts.PAGE_INCIDENTS, texts.INCIDENTS_QUESTION)
    now = now_of(fleet)
    with problems_shown():
        asked = asked_for("incident")
        if asked:
            if st.button(texts.BACK, icon=":material/arrow_back:"):
                st.query_params.clear()
                st.rerun()
            _detail(desk, asked, now)
        else:
            keep_fresh(_expected, _EVERY_S, desk)
            state = st.segmented_control(
                texts.INCIDENTS_STATE,
                list(texts.INCIDENTS_STATES),
                default="open",
                required=True,
                format_func=lambda one: texts.INCIDENTS_STATES[one],
            )
            keep_fresh(_list, _EVERY_S, desk, state or "open", now)


def _expected(desk: Desk) -> None:
    with problems_shown():
        found = desk.api.get("/v1/alerts")["alerts"]
        st.markdown(f"**{texts.ALERTS_TITLE}**")
        if not found:
            st.success(texts.ALERTS_NONE, icon=":material/check:")
            return
        chosen = show_rows(alert_rows(found, desk.zone), key="alerts", selectable=True)
        if chosen is not None:
            go_to("incidents", incident=str(found[chosen]["incident_id"]))


def alert_rows(alerts: Sequence[Doc], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the table of what is expected, the nearest first, with how long until then."""
    return [
        {
            "in_time": countdown(one["seconds_left"]),
            "due": local(one["due_at"], zone),
            "severity": named(texts.SEVERITY, one["severity"]),
            "says": harmless(one["says"]),
        }
        for one in alerts
    ]


def _list(desk: Desk, state: str, now: datetime) -> None:
    with problems_shown():
        found = triaged(desk.api.items("/v1/incidents", most=_MOST, state=state))
        if not found:
            st.success(texts.INCIDENTS_NONE[state], icon=":material/check:")
            return
        chosen = show_rows(incident_rows(found, desk.zone, now), key=f"incidents {state}", selectable=True)
        st.caption(texts.INCIDENTS_HINT)
        if chosen is not None:
            go_to("incidents", incident=str(found[chosen]["incident_id"]))


def triaged(incidents: Sequence[Doc]) -> list[Doc]:
    """Return incidents in the order to look at them: severity, then score, then age."""
    return sorted(incidents, key=lambda one: (_ORDER.index(one["severity"]), -one["score"], one["since"]))


def incident_rows(incidents: Sequence[Doc], zone: ZoneInfo, now: datetime) -> list[dict[str, Any]]:
    """Return the table of incidents."""
    return [
        {
            "severity": named(texts.SEVERITY, one["severity"]),
            "site_id": one["site_id"],
            "kind": words(one["kind"]),
            "since": local(one["since"], zone),
            "last": ago(one["since"], now),
            "score": float(one["score"]),
            "assignee": one["assignee"] or texts.NOBODY,
        }
        for one in incidents
    ]


def _detail(desk: Desk, incident_id: str, now: datetime) -> None:
    one = desk.api.get(f"/v1/incidents/{incident_id}")
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            title = texts.INCIDENTS_TITLE.format(kind=words(one["kind"]).capitalize(), site=one["site_id"])
            st.markdown(f"**{title}**", width="content")
            st.badge(named(texts.SEVERITY, one["severity"]), color=_COLOURS.get(one["severity"], "gray"))
            st.badge(named(texts.INCIDENT_STATE, one["state"]), color="gray")
        until = moment(one["until"], desk.zone) if one["until"] else texts.INCIDENTS_GOES_ON
        st.write(
            texts.INCIDENTS_WHEN.format(
                since=moment(one["since"], desk.zone),
                ago=ago(one["since"], now),
                until=until,
                score=one["score"],
            )
        )
        st.caption(texts.INCIDENTS_ASSIGNED.format(who=one["assignee"] or texts.NOBODY))
        _actions(desk, one)
    if st.button(texts.INCIDENTS_SITE.format(site=one["site_id"]), icon=":material/electric_meter:"):
        go_to("site", site=one["site_id"])
    st.markdown(f"**{texts.INCIDENTS_EVIDENCE}**")
    plain_facts = evidence_lines(one["evidence"])
    st.markdown("\n".join(f"- {line}" for line in plain_facts) or texts.INCIDENTS_NO_EVIDENCE)
    nested = {name: value for name, value in one["evidence"].items() if isinstance(value, dict | list)}
    if nested:
        st.json(nested, expanded=1)
    st.markdown(f"**{texts.INCIDENTS_HISTORY}**")
    for entry in one["history"]:
        st.markdown(f"- {entry_line(entry, desk.zone)}")


def entry_line(entry: Doc, zone: ZoneInfo) -> str:
    """Return one entry of an incident's history; what people wrote is shown as they wrote it and does nothing."""
    return texts.INCIDENTS_ENTRY.format(
        at=moment(entry["at"], zone),
        who=harmless(entry["who"]),
        state=named(texts.INCIDENT_STATE, entry["state"]),
        why=harmless(entry["why"]),
    )


def evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    """Return the plain facts of the evidence, one line each."""
    return [
        f"{harmless(words(name))}: **{value:.4g}**"
        if isinstance(value, float)
        else f"{harmless(words(name))}: **{harmless(str(value))}**"
        for name, value in evidence.items()
        if not isinstance(value, dict | list)
    ]


def _assign(desk: Desk, path: str) -> None:
    """Give an incident to somebody; the API says whether there is such a user."""
    who = st.text_input(texts.INCIDENTS_ASSIGN_WHO, key="assignee", max_chars=64).strip()
    if st.button(texts.INCIDENTS_ASSIGN_CONFIRM, key="confirm assign", type="primary") and who:
        attempt(
            lambda: desk.api.act("POST", f"{path}/assign", {"assignee": who}),
            texts.INCIDENTS_GIVEN.format(who=who),
        )
        st.rerun()


def _actions(desk: Desk, one: Doc) -> None:
    if one["state"] == "closed" or not desk.may("operator"):
        return
    path = f"/v1/incidents/{one['incident_id']}"
    with st.container(horizontal=True):
        if one["state"] == "open":
            with ask(texts.INCIDENTS_ACK, "acknowledge", icon=":material/visibility:", kind="primary"):
                reason_button(
                    desk, f"{path}/acknowledge", key="ack", confirm=texts.INCIDENTS_ACK,
                    done=texts.INCIDENTS_ACKED, field="why",
                )  # fmt: skip
        if one["assignee"] != desk.name and st.button(texts.INCIDENTS_MINE, icon=":material/person_add:"):
            attempt(
                lambda: desk.api.act("POST", f"{path}/assign", {"assignee": desk.name}), texts.INCIDENTS_TAKEN
            )
            st.rerun()
        with ask(texts.INCIDENTS_ASSIGN, "assign", icon=":material/group:"):
            _assign(desk, path)
        with ask(texts.INCIDENTS_CLOSE, "close", icon=":material/done_all:"):
            reason_button(
                desk, f"{path}/close", key="close", confirm=texts.INCIDENTS_CLOSE, done=texts.INCIDENTS_CLOSED,
                field="why",
            )  # fmt: skip
