"""What stands on every page: whether anything is simulated, whether the fleet is stopped, and the stop for all."""

from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk, attempt, order_in_words, problems_shown, show_said, stand_up
from ui.console.formats import named

_LEAST_REASON = 3
_LOOK_EVERY_S = 3


def show_header(desk: Desk, title: str, question: str) -> Doc | None:
    """Draw the page's head; return the fleet, None where the API does not give it."""
    fleet: Doc | None = None
    with problems_shown():
        fleet = desk.fleet()
    stopped = bool(fleet and fleet["stopped"])
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(title, anchor=False, width="content")
        _order_button(desk, stopped=stopped)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(question, width="content")
        _standing(desk, fleet)
    show_said()
    if stopped:
        st.error(texts.STOPPED, icon=":material/front_hand:")
    if fleet is not None:
        watch: Any = st.fragment(_watch, run_every=_LOOK_EVERY_S)
        watch(desk, stopped)
    return fleet


def _watch(desk: Desk, stopped: bool) -> None:
    """Draw the page anew once somebody has stopped the fleet or cleared the stop; the head does not refresh itself."""
    with problems_shown():
        if bool(desk.fleet()["stopped"]) != stopped:
            st.rerun(scope="app")


def _standing(desk: Desk, fleet: Doc | None) -> None:
    """Say what everything below is to be read by: the time zone, the mode in force, what is simulated."""
    st.badge(desk.zone.key, icon=":material/schedule:", color="gray")
    if fleet is None:
        return
    if fleet["counts"]["simulated"]:
        st.badge(simulated_words(fleet), icon=":material/science:", color="violet")
    if fleet["mode"] and fleet["mode"]["mode"] != "normal":
        st.badge(
            texts.MODE.format(mode=named(texts.OPERATING_MODES, fleet["mode"]["mode"])),
            icon=":material/thunderstorm:",
            color="orange",
        )


def _order_button(desk: Desk, *, stopped: bool) -> None:
    if not stopped:
        if desk.may("operator") and st.button(
            texts.STOP, type="primary", icon=":material/front_hand:", key="stop_for_all"
        ):
            confirm_stop(desk)
    elif desk.may("approver") and st.button(texts.CLEAR, icon=":material/play_arrow:", key="clear_stop"):
        confirm_clear(desk)


@st.dialog(texts.STOP_TITLE)
def confirm_stop(desk: Desk) -> None:
    """Ask once more, with the reason, before every site is stopped."""
    _confirm(desk, "stop", texts.STOP_LEAD, texts.STOP_CONFIRM)


@st.dialog(texts.CLEAR_TITLE)
def confirm_clear(desk: Desk) -> None:
    """Ask once more before the stop is lifted."""
    _confirm(desk, "clear", texts.CLEAR_LEAD, texts.CLEAR_CONFIRM)


def _confirm(desk: Desk, kind: str, lead: str, confirm: str) -> None:
    st.write(lead)
    reason, path = reason_asked(kind), f"/v1/control/{kind}"
    if st.button(confirm, type="primary", key=f"confirm_{kind}"):
        if not good_reason(reason):
            st.warning(texts.REASON_SHORT)
            return
        attempt(lambda: desk.api.act("POST", path, {"reason": reason.strip()}), order_in_words)
        st.rerun()


def reason_asked(key: str) -> str:
    """Ask why; what is written goes into the audit trail."""
    return st.text_input(texts.REASON, key=f"reason {key}", max_chars=500)


def good_reason(reason: str) -> bool:
    """Return whether a reason says anything."""
    return len(reason.strip()) >= _LEAST_REASON


def show_sidebar(desk: Desk) -> None:
    """Draw who sits here, in which time zone, and what is simulated."""
    with st.sidebar:
        st.caption(texts.WHO.format(name=desk.name, role=named(texts.ROLE, desk.role)))
        st.caption(texts.TIMES_IN.format(zone=desk.zone.key))
        with problems_shown():
            fleet = desk.fleet()
            if fleet["mode"]:
                st.caption(texts.MODE.format(mode=named(texts.OPERATING_MODES, fleet["mode"]["mode"])))
        if st.button(texts.LOG_OUT, icon=":material/logout:"):
            with problems_shown():
                desk.api.act("DELETE", "/v1/session")
            stand_up()
            st.rerun()


def simulated_words(fleet: Doc) -> str:
    """Return how much of what is shown is simulated; empty where nothing is."""
    counts = fleet["counts"]
    if not counts["simulated"]:
        return ""
    if counts["simulated"] == counts["sites"]:
        return texts.ALL_SIMULATED
    return texts.SOME_SIMULATED.format(count=counts["simulated"], sites=counts["sites"])
