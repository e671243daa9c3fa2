"""Control log: who did what, when, and does the record hold?"""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk, asked_for, problems_shown
from ui.console.formats import harmless, local, words
from ui.console.header import show_header
from ui.console.tables import show_rows

_MOST = 200
_TOLD = 5
_LONG = 60


def show_audit(desk: Desk) -> None:
    """Draw the audit trail, newest first, of everything or of one subject."""
    show_header(desk, texts.PAGE_AUDIT, texts.AUDIT_QUESTION)
    if not desk.may("operator"):
        st.info(texts.AUDIT_NOT_YOURS, icon=":material/lock:")
        return
    with problems_shown():
        subject = st.text_input(
            texts.AUDIT_SUBJECT, value=asked_for("subject"), placeholder=texts.AUDIT_PLACEHOLDER
        ).strip()
        lines = desk.api.items("/v1/audit", most=_MOST, subject=subject or None)
        if st.button(texts.AUDIT_VERIFY, icon=":material/verified:"):
            _verify(desk)
        if not lines:
            st.info(texts.AUDIT_NONE)
            return
        chosen = show_rows(audit_rows(lines, desk.zone), key="audit", selectable=True)
        st.caption(texts.AUDIT_HINT)
        if chosen is not None:
            st.json({"before": lines[chosen]["before"], "after": lines[chosen]["after"]}, expanded=2)


def _verify(desk: Desk) -> None:
    with st.spinner(texts.LOADING):
        check = desk.api.get("/v1/audit/verify")
    if check["sound"]:
        st.success(texts.AUDIT_SOUND.format(count=check["entries"]), icon=":material/verified:")
        return
    st.error(texts.AUDIT_FAULTY.format(count=len(check["faults"])), icon=":material/gpp_bad:")
    for one in check["faults"]:
        fault = texts.AUDIT_FAULT.format(
            seq=one["seq"], kind=words(one["kind"]), detail=harmless(one["detail"])
        )
        st.markdown(f"- {fault}")


def audit_rows(lines: Sequence[Doc], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the trail as a table."""
    return [
        {
            "seq": one["seq"],
            "at": local(one["at"], zone),
            "who": one["who"],
            "action": one["action"],
            "subject": one["subject"],
            "detail": changed(one["before"], one["after"]),
        }
        for one in lines
    ]


def changed(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Return in short what an act changed: `status: validated → dispatched`; long values are left to the detail."""
    old, new = before or {}, after or {}
    parts = []
    for name in [*new, *(key for key in old if key not in new)]:
        was, now = old.get(name), new.get(name)
        if was == now or isinstance(now, dict | list) or len(str(now)) > _LONG:
            continue
        parts.append(f"{name}: {was} → {now}" if name in old else f"{name}: {now}")
    return ", ".join(parts[:_TOLD])
