"""Plans: what was planned, what was sent, what the sites said, what was delivered."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import ask, keep_fresh
from ui.console.charts import QUIET
from ui.console.desk import Desk, asked_for, go_to, order_in_words, problems_shown
from ui.console.formats import harmless, local, moment, named, now_of, percent, span, words
from ui.console.header import show_header
from ui.console.plan_card import reason_button, show_plan_card
from ui.console.plan_charts import (
    acknowledged,
    delivered_frac,
    delivery_figure,
    short,
    timeline_figure,
)
from ui.console.tables import show_rows
from ui.console.views.objectives import show_objectives

_EVERY_S = 3
_MOST = 100
_ON_TIMELINE = 15
_VERDICTS: Mapping[str, Any] = {
    "accepted": "green",
    "completed": "green",
    "limited": "orange",
    "refused": "red",
    "waiting": "blue",
}
_RUNNING = ("approved", "dispatched")


def show_plans(desk: Desk) -> None:
    """Draw the list, or the plan that the address names."""
    fleet = show_header(desk, texts.PAGE_PLANS, texts.PLANS_QUESTION)
    now = now_of(fleet)
    plan_id = asked_for("plan")
    with problems_shown():
        if plan_id:
            if st.button(texts.BACK, icon=":material/arrow_back:"):
                st.query_params.clear()
                st.rerun()
            keep_fresh(_detail, _EVERY_S, desk, plan_id)
        else:
            _list(desk, now)
    if not plan_id:
        with problems_shown():
            show_objectives(desk, now)


def _list(desk: Desk, now: datetime) -> None:
    status = st.pills(
        texts.PLANS_STATUS,
        list(texts.STATUS),
        selection_mode="multi",
        format_func=lambda one: texts.STATUS[one],
        key="plan_status",
    )
    plans = desk.api.items("/v1/plans", most=_MOST, status=status or None)
    if not plans:
        st.info(texts.PLANS_NONE_WITH if status else texts.PLANS_NONE, icon=":material/bolt:")
        return
    shown = on_timeline(plans)
    if shown:
        st.markdown(f"**{texts.PLANS_TIMELINE}**")
        st.plotly_chart(
            timeline_figure(shown, now, desk.zone), key="timeline", config=QUIET, alt=texts.PLANS_TIMELINE
        )
    rows = plan_rows(plans, desk)
    chosen = show_rows(rows, key="plans", selectable=True)
    st.caption(texts.PLANS_HINT)
    if chosen is not None:
        go_to("plans", plan=str(plans[chosen]["plan_id"]))


def on_timeline(plans: Sequence[Doc], most: int = _ON_TIMELINE) -> list[Doc]:
    """Return the plans worth a bar: alternatives that were never chosen would hide the others."""
    return [one for one in plans if one["status"] != "proposed"][:most]


def plan_rows(plans: Sequence[Doc], desk: Desk) -> list[dict[str, Any]]:
    """Return the table of plans."""
    return [
        {
            "plan_id": short(one["plan_id"]),
            "status": named(texts.STATUS, one["status"]),
            "objective": named(texts.OBJECTIVE_KINDS, one["objective"]),
            "window": span(one["window_start"], one["window_end"], desk.zone),
            "sites": one["sites"],
            "created": local(one["created_at"], desk.zone),
        }
        for one in plans
    ]


def _detail(desk: Desk, plan_id: str) -> None:
    with problems_shown():
        plan = desk.api.get(f"/v1/plans/{plan_id}")
        left, right = st.columns([1, 1])
        with left:
            show_plan_card(desk, plan, "detail")
            _abort(desk, plan)
            _links(plan)
        with right:
            _delivery(desk, plan_id)
            _commands(desk, plan)
            _verdicts(desk, plan)
            if plan["report"]:
                st.markdown(f"**{texts.PLANS_REPORT}**")
                st.write(harmless(plan["report"].get("message", "")))


def _abort(desk: Desk, plan: Doc) -> None:
    if plan["status"] not in _RUNNING or not desk.may("operator"):
        return
    with ask(texts.PLANS_ABORT, "abort", icon=":material/stop_circle:"):
        st.write(texts.PLANS_ABORT_LEAD)
        reason_button(
            desk,
            f"/v1/plans/{plan['plan_id']}/abort",
            key="abort",
            confirm=texts.PLANS_ABORT_CONFIRM,
            done=order_in_words,
        )


def _links(plan: Doc) -> None:
    with st.container(horizontal=True):
        if plan["thread_id"] and st.button(texts.PLANS_THREAD, icon=":material/forum:"):
            go_to("chat", thread=plan["thread_id"])
        if st.button(texts.PLANS_AUDIT, icon=":material/receipt_long:"):
            go_to("audit", subject=plan["plan_id"])
    if plan["supersedes"]:
        st.caption(texts.PLANS_SUPERSEDES.format(plan=plan["supersedes"]))


def _delivery(desk: Desk, plan_id: str) -> None:
    st.markdown(f"**{texts.PLANS_DELIVERY}**")
    delivery = desk.api.get(f"/v1/plans/{plan_id}/delivery")
    figure = delivery_figure(delivery, desk.zone)
    if figure is None:
        st.info(texts.PLANS_NO_DELIVERY, icon=":material/hourglass_empty:")
        return
    st.plotly_chart(figure, key="delivery", config=QUIET, alt=texts.PLANS_DELIVERY)
    frac = delivered_frac(delivery)
    st.caption(
        texts.PLANS_DELIVERED.format(
            share=percent(frac, 1), part=delivery["sites_taking_part"], planned=delivery["sites_planned"]
        )
    )


def _commands(desk: Desk, plan: Doc) -> None:
    st.markdown(f"**{texts.PLANS_COMMANDS}**")
    if not plan["commands"]:
        st.info(not_sent_words(plan), icon=":material/outgoing_mail:")
        return
    with st.container(horizontal=True):
        for word, count in acknowledged(plan["commands"]).items():
            shown = texts.PLANS_ACKNOWLEDGED.format(count=count, verdict=named(texts.VERDICT, word))
            st.badge(shown, color=_VERDICTS.get(word, "gray"))
    rows = [
        {
            "site_id": one["site_id"],
            "kind": one["kind"],
            "verdict": named(texts.VERDICT, one["verdict"] or one["state"]),
            "reason": one["reason"],
            "sent": local(one["sent_at"], desk.zone),
            "acknowledged": local(one["acknowledged_at"], desk.zone),
            "read_back_v": one["read_back_v"],
            "limited_wh": one["limited_wh"],
        }
        for one in plan["commands"]
    ]
    show_rows(rows, key="commands")


def not_sent_words(plan: Doc) -> str:
    """Return why no command was sent, as far as is known."""
    outcome = plan["outcome"]
    if outcome is None:
        return texts.PLANS_NOT_ASKED
    broken = [str(one.get("message", one)) for one in outcome["doc"].get("broken", [])]
    return texts.PLANS_NOT_SENT.format(outcome=words(outcome["outcome"]), why="; ".join(broken[:3]) or "–")


def _verdicts(desk: Desk, plan: Doc) -> None:
    with st.expander(texts.PLANS_VERDICTS.format(count=len(plan["verdicts"]))):
        if not plan["verdicts"]:
            st.caption(texts.PLANS_NO_VERDICT)
        for one in plan["verdicts"]:
            word = texts.PLANS_PASSED if one["approved"] else texts.PLANS_BROKE
            line = texts.PLANS_GATE.format(
                at=moment(one["at"], desk.zone), gate=words(one["gate"]), verdict=word
            )
            st.markdown(f"- {line}")
            for broken in one["doc"].get("broken", []):
                st.markdown(f"  - {broken['rule']} {words(broken['name'])}: {broken['message']}")
        st.json(plan["provenance"], expanded=False)
