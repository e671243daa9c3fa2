"""The settings' tab on messages to people: who is told, what was sent, and a test."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk
from ui.console.formats import local
from ui.console.tables import show_rows

_MOST = 50


def show_notices(desk: Desk) -> None:
    """Draw who is told, the test button for those who may, and the newest messages."""
    found = desk.api.get("/v1/notifications/targets")
    st.markdown(f"**{texts.NOTICES_TARGETS}**")
    if found["fault"]:
        st.error(texts.NOTICES_FAULT.format(why=found["fault"]), icon=":material/error:")
    elif not found["targets"]:
        st.info(texts.NOTICES_NOBODY, icon=":material/notifications_off:")
    else:
        show_rows(target_rows(found["targets"]), key="targets")
        if desk.may("admin") and st.button(texts.NOTICES_TEST, icon=":material/send:"):
            _test(desk)
    st.caption(texts.NOTICES_FILE_NOTE)
    st.markdown(f"**{texts.NOTICES_RECENT}**")
    sent = desk.api.items("/v1/notifications", most=_MOST)
    if not sent:
        st.caption(texts.NOTICES_NONE)
        return
    show_rows(
        [
            {
                "made_at": local(one["made_at"], desk.zone),
                "target": one["target"],
                "severity": one["severity"],
                "title": one["title"],
                "state": one["state"],
                "attempts": one["attempts"],
                "reason": one["outcome"],
            }
            for one in sent
        ],
        key="notices",
    )


def target_rows(targets: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return the table of targets."""
    return [
        {
            "target": one["name"],
            "service": one["scheme"],
            "at_least": one["at_least"],
            "kinds": ", ".join(one["kinds"]) or texts.NOTICES_ALL_KINDS,
        }
        for one in targets
    ]


def _test(desk: Desk) -> None:
    with st.spinner(texts.LOADING):
        results = desk.api.act("POST", "/v1/notifications/test", {})
    show_rows(
        [{"target": one["target"], "ok": one["ok"], "reason": one["detail"]} for one in results], key="tested"
    )
