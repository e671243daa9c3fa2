"""Chat: ask and act."""

import time
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, Doc
from ui.console.asking import keep_fresh
from ui.console.chat_steps import show_steps
from ui.console.desk import Desk, asked_for, go_to, in_words, problems_shown
from ui.console.following import Following
from ui.console.formats import harmless, moment, span, words, zone_of
from ui.console.header import show_header
from ui.console.plan_card import show_plan_card
from ui.console.plan_change import change_request
from ui.console.plan_charts import alternative_rows
from ui.console.tables import show_rows
from ui.console.transcript import Entry, at_work, card_wanted, planner_of, transcript

_STREAMED_S, _AT_WORK_S, _AT_REST_S = 0.5, 1, 5
_MOST_TITLE = 80
_THREADS = 40
_FOLLOWING, _DETAIL = "cellwatt_following", "cellwatt_thread"


def show_chat(desk: Desk) -> None:
    """Draw the thread that the address names, or a fresh one with something to ask."""
    fleet = show_header(desk, texts.PAGE_CHAT, texts.CHAT_QUESTION)
    if fleet is None:
        st.button(texts.RETRY)
        return
    if desk.may("operator") and (plan_id := asked_for("change")):
        with problems_shown():
            _change(desk, plan_id, fleet)
        return
    with problems_shown():
        thread_id = _choose(desk)
        if thread_id:
            follow = following(desk, thread_id)
            st.session_state.pop(_DETAIL, None)  # something was said, or the page was opened
            events = follow.events()
            busy = at_work(_detail(desk, thread_id, len(events))["commands"], events) is not None
            # What the stream brought is here already; only what has to be asked for is worth waiting for.
            at_work_s = _STREAMED_S if follow.standing else _AT_WORK_S
            keep_fresh(_thread, at_work_s if busy else _AT_REST_S, desk, thread_id, busy)
        else:
            _suggest(desk)
    if not desk.may("operator"):
        st.caption(texts.CHAT_READ_ONLY)
        return
    text = st.chat_input(texts.CHAT_INPUT, max_chars=2000)
    if text:
        _say(desk, thread_id, text)


def _choose(desk: Desk) -> str:
    automated = st.toggle(texts.CHAT_AUTOMATED, key="automated_threads")
    found = desk.api.items("/v1/threads", most=_THREADS, kind="loop" if automated else "chat")
    titles = {one["thread_id"]: one for one in found}
    asked = asked_for("thread")
    ids = ["", *titles]
    if asked and asked not in titles:
        titles[asked] = desk.api.get(f"/v1/threads/{asked}")["thread"]
        ids.append(asked)

    labels = thread_labels(titles.values(), desk.zone)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            texts.CHAT_THREAD,
            ids,
            index=ids.index(asked) if asked else 0,
            format_func=lambda one: labels.get(one, texts.CHAT_NEW),
            key=f"thread {asked}",
        )
        if asked and st.button(texts.CHAT_NEW, icon=":material/add_comment:"):
            chosen = ""
    if chosen != asked:
        st.query_params.from_dict({"thread": chosen} if chosen else {})
        st.rerun()
    return str(chosen)


def thread_labels(threads: Iterable[Doc], zone: ZoneInfo) -> dict[str, str]:
    """Return each thread's name in the list, no two alike: a list gives back the first entry of a name."""
    labels: dict[str, str] = {}
    for one in threads:
        label = f"{one['title']} · {texts.CHAT_KIND[one['kind']]}, {moment(one['created_at'], zone)}"
        while label in labels.values():
            label += f" · {one['thread_id']}"
        labels[one["thread_id"]] = label
    return labels


def _change(desk: Desk, plan_id: str, fleet: Doc) -> None:
    """Draw a request for a plan like this one, to be changed before it is sent; the plan itself stays as it is."""
    plan = desk.api.get(f"/v1/plans/{plan_id}")
    st.markdown(f"**{texts.CHANGE_TITLE}**")
    window = span(plan["window_start"], plan["window_end"], desk.zone)
    st.write(
        texts.CHANGE_IS.format(
            plan=plan_id, what=words(plan["objective"]), window=window, sites=plan["sites"]
        )
    )
    first = fleet["sites"][0]["site_id"] if fleet["sites"] else None
    site_zone = zone_of(desk.api.get(f"/v1/sites/{first}")["site"]["time_zone"] if first else None)
    st.caption(texts.CHANGE_LEAD.format(zone=site_zone.key))
    with st.form("change"):
        text = st.text_area(texts.CHANGE_ASK, change_request(plan, site_zone), max_chars=2000)
        with st.container(horizontal=True):
            sent = st.form_submit_button(texts.CHANGE_SEND, type="primary", icon=":material/send:")
            left = st.form_submit_button(texts.CHANGE_LEAVE)
    if sent and text.strip():
        _say(desk, "", text.strip())
    if left:
        st.query_params.clear()
        st.rerun()


def _suggest(desk: Desk) -> None:
    if not desk.may("operator"):
        st.info(texts.CHAT_EMPTY_VIEWER, icon=":material/forum:")
        return
    st.info(texts.CHAT_EMPTY, icon=":material/forum:")
    fleet = desk.fleet()
    site = fleet["sites"][0]["site_id"] if fleet["sites"] else "cbs-0001"
    feeder = fleet["feeders"][-1]["feeder_id"] if fleet["feeders"] else "feeder-1"
    for number, template in enumerate(texts.CHAT_SUGGESTIONS):
        text = template.format(site=site, feeder=feeder)
        if st.button(text, key=f"suggestion {number}", icon=":material/arrow_forward:"):
            _say(desk, "", text)


def _say(desk: Desk, thread_id: str, text: str) -> None:
    try:
        with st.spinner(texts.ACTING):
            if not thread_id:
                title = text if len(text) <= _MOST_TITLE else text[: _MOST_TITLE - 1] + "…"
                thread_id = str(desk.api.act("POST", "/v1/threads", {"title": title})["thread_id"])
            desk.api.act("POST", f"/v1/threads/{thread_id}/messages", {"text": text})
    except ApiError as error:
        st.error(in_words(error))
        return
    st.query_params.from_dict({"thread": thread_id})
    st.rerun()


def following(desk: Desk, thread_id: str) -> Following:
    """Return what follows a thread for this page; the thread before is left."""
    found: Following | None = st.session_state.get(_FOLLOWING)
    if found is None or found.thread_id != thread_id or found.api is not desk.api:
        if found is not None:
            found.leave()
        found = st.session_state[_FOLLOWING] = Following(desk.api, thread_id)
    return found


def _detail(desk: Desk, thread_id: str, seen: int) -> Doc:
    """Return a thread with its commands, as of the last event; without one, of a few seconds ago."""
    kept: Any = st.session_state.get(_DETAIL)
    if kept is not None and kept[0] == (thread_id, seen) and time.monotonic() - kept[1] < _AT_REST_S:
        found: Doc = kept[2]
        return found
    found = desk.api.get(f"/v1/threads/{thread_id}")
    st.session_state[_DETAIL] = ((thread_id, seen), time.monotonic(), found)
    return found


def _thread(desk: Desk, thread_id: str, busy: bool) -> None:
    """Draw what has been said; when work begins or ends, the page takes up the other pace."""
    with problems_shown():
        events = following(desk, thread_id).events()
        detail = _detail(desk, thread_id, len(events))
        entries = transcript(detail["commands"], events)
        if not entries:
            st.info(texts.CHAT_NOTHING_YET, icon=":material/hourglass_empty:")
        for entry in entries:
            _entry(desk, entry)
        if chosen := card_wanted(entries):
            with st.expander(texts.CHAT_CARD, icon=":material/bolt:"):
                show_plan_card(desk, desk.api.get(f"/v1/plans/{chosen}"), "chosen")
        doing = at_work(detail["commands"], events)
        if doing is not None:
            st.caption(f":material/progress_activity: {texts.CHAT_WORKING.format(what=words(doing))}")
        if planner := planner_of(entries):
            st.caption(texts.CHAT_MODEL.format(model=planner))
        if (doing is not None) != busy:
            st.rerun(scope="app")


def _entry(desk: Desk, entry: Entry) -> None:
    body = entry.body
    match entry.kind:
        case "person":
            with st.chat_message("user"):
                st.caption(f"{entry.who}, {moment(entry.at, desk.zone)}")
                st.text(body.get("text", ""))
        case "steps":
            show_steps(desk, entry.steps, entry.key)
        case "answer" | "writing":
            _answer(body)
        case "plan":
            _compared(entry)
        case "approval":
            with st.chat_message("assistant"):
                st.write(texts.CHAT_NEEDS_APPROVAL.format(until=moment(body["until"], desk.zone)))
                _plan(desk, entry)
        case "wait":
            st.caption(texts.CHAT_WAITS.format(what=body["for"], until=moment(body["until"], desk.zone)))
        case "error":
            st.error(texts.CHAT_FAILED.format(why=body["text"]), icon=":material/error:")
        case "ended":
            pass


def _answer(body: Doc) -> None:
    with st.chat_message("assistant"):
        st.write(harmless(body["text"]))
        for note in body.get("notes", []):
            st.caption(harmless(note))


def _compared(entry: Entry) -> None:
    with st.chat_message("assistant"):
        st.write(harmless(entry.body.get("why", "")))
        rows = alternative_rows(entry.body["plans"], entry.body["chosen"])
        show_rows(rows, key=f"alternatives {entry.key}")
        if st.button(texts.CHAT_OPEN_PLAN, key=f"open {entry.key}", icon=":material/bolt:"):
            go_to("plans", plan=entry.body["chosen"])


def _plan(desk: Desk, entry: Entry) -> None:
    plan = desk.api.get(f"/v1/plans/{entry.body['plan_id']}")
    show_plan_card(desk, plan, entry.key)
