"""Standing objectives: what the automated loop keeps to, said in words; part of the page of plans."""

from datetime import datetime

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk, attempt
from ui.console.formats import harmless, instant, moment

_MOST_LETTERS = 300  # as the API has it
_SAID = "cellwatt_objectives_said"


def show_objectives(desk: Desk, now: datetime) -> None:
    """Draw the objectives in force with how they were read; for operators a line to add one and a button to end each."""
    st.markdown(f"**{texts.OBJECTIVES}**")
    st.caption(texts.OBJECTIVES_LEAD)
    kept = [one for one in desk.api.items("/v1/objectives") if in_force(one, now)]
    if not kept:
        st.caption(texts.OBJECTIVES_NONE)
    for one in kept:
        _show_one(desk, one)
    if desk.may("operator"):
        _ask(desk)


def in_force(objective: Doc, now: datetime) -> bool:
    """Return whether an objective's day has not come yet; without a day it is kept for good."""
    until = instant(objective["until"])
    return until is None or until > now


def read_words(objective: Doc, desk: Desk) -> str:
    """Return what was read out of an objective's words: that alone binds."""
    what = (
        texts.OBJECTIVE_PAUSES
        if objective["pause"]
        else texts.OBJECTIVE_LEAVES_OUT.format(sites=", ".join(objective["exclude_site_ids"]))
    )
    until = objective["until"]
    when = texts.OBJECTIVE_UNTIL.format(until=moment(until, desk.zone)) if until else texts.OBJECTIVE_FOR_GOOD
    return f"{what}, {when}"


def _show_one(desk: Desk, one: Doc) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"“{harmless(one['text'])}”")
        st.caption(
            texts.OBJECTIVE_READ.format(
                read=read_words(one, desk), who=one["who"], at=moment(one["at"], desk.zone)
            )
        )
        if desk.may("operator") and st.button(
            texts.OBJECTIVE_END, key=f"end {one['objective_id']}", icon=":material/close:"
        ):
            path = f"/v1/objectives/{one['objective_id']}"
            attempt(lambda: desk.api.act("DELETE", path), texts.OBJECTIVE_ENDED)
            st.rerun()


def _ask(desk: Desk) -> None:
    said = st.session_state.get(_SAID, 0)
    with st.form("objective"):
        # Words that were not understood stay, to be mended; those that were kept make room for the next.
        text = st.text_input(
            texts.OBJECTIVE_WORDS,
            max_chars=_MOST_LETTERS,
            placeholder=texts.OBJECTIVE_EXAMPLE,
            key=f"objective {said}",
        )
        pressed = st.form_submit_button(texts.OBJECTIVE_KEEP)
    if not pressed:
        return
    if not text.strip():
        st.warning(texts.OBJECTIVE_EMPTY)
        return
    body = {"text": text.strip()}
    if attempt(
        lambda: desk.api.act("POST", "/v1/objectives", body),
        lambda kept: texts.OBJECTIVE_KEPT.format(read=read_words(kept, desk)),
    ):
        st.session_state[_SAID] = said + 1
    st.rerun()
