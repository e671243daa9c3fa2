"""The plan card, from data alone: what, which way, when, how much, how safe, who must say yes; and the yes or no."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import ask
from ui.console.charts import QUIET
from ui.console.desk import Desk, attempt, go_to
from ui.console.formats import harmless, kilo, named, percent, plain, span, words
from ui.console.header import good_reason, reason_asked
from ui.console.plan_change import CHANGEABLE
from ui.console.plan_charts import curve_figure, curves_of, effect_figure

_OPEN = ("validated", "approved")
_COLOURS: Mapping[str, Any] = {
    "proposed": "gray",
    "validated": "blue",
    "rejected": "red",
    "approved": "violet",
    "declined": "orange",
    "dispatched": "blue",
    "completed": "green",
    "aborted": "red",
}


def show_plan_card(desk: Desk, plan: Doc, key: str) -> None:
    """Draw a plan with the buttons that this person may press."""
    with st.container(border=True):
        _head(plan)
        _figures(desk, plan)
        figure = curve_figure(plan, desk.zone)
        if figure is not None:
            st.plotly_chart(figure, key=f"curve {key}", config=QUIET, alt=curves_in_words(plan))
        if plan["feeders"]:
            st.plotly_chart(
                effect_figure(plan["feeders"]), key=f"effect {key}", config=QUIET, alt=texts.PLAN_FEEDERS
            )
        _rules(plan)
        _approval(desk, plan, key)


def curves_in_words(plan: Doc) -> str:
    """Return what the picture of the curves shows, for who does not see it."""
    return texts.PLAN_CURVES.format(feeders=", ".join(name for name, _ in curves_of(plan)), way=way(plan))


def _head(plan: Doc) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{named(texts.OBJECTIVE_KINDS, plan['objective']).capitalize()}**", width="content")
        st.badge(named(texts.STATUS, plan["status"]), color=_COLOURS.get(plan["status"], "gray"))
        if plan["simulated_sites"]:
            shown = texts.PLAN_SIMULATED.format(count=plan["simulated_sites"], sites=plan["sites"])
            st.badge(shown, icon=":material/science:", color="violet")
    st.caption(plan["plan_id"])
    if plan["objective_text"]:
        st.write(harmless(plan["objective_text"]))
    st.markdown(f"**{way(plan)}**")


def way(plan: Doc) -> str:
    """Return which way energy flows and how strongly at most: the sign, in words."""
    peaks = {
        "discharge": texts.PLAN_DISCHARGES.format(power=kilo(plan["peak_discharge_w"], "W")),
        "charge": texts.PLAN_CHARGES.format(power=kilo(plan["peak_charge_w"], "W")),
    }
    if plan["direction"] == "charge and discharge":
        return f"{peaks['discharge']}; {peaks['charge']}"
    return peaks.get(plan["direction"], texts.PLAN_RESTS)


def _figures(desk: Desk, plan: Doc) -> None:
    st.markdown(f":material/schedule: {span(plan['window_start'], plan['window_end'], desk.zone)}")
    with st.container(horizontal=True):
        for label, value, explained in figures_of(plan):
            st.metric(label, value, width=135, help=explained)


def figures_of(plan: Doc) -> list[tuple[str, str, str | None]]:
    """Return a plan's figures as label, value and explanation."""
    return [
        (texts.PLAN_SITES, str(plan["sites"]), None),
        (
            texts.PLAN_ENERGY,
            kilo(plan["discharge_wh"] or plan["charge_wh"], "Wh"),
            None,
        ),
        (texts.PLAN_RELIEF, kilo(plan["relief_w"], "W"), texts.PLAN_RELIEF_HELP),
        (
            texts.PLAN_MARGIN,
            plain(plan["reserve_margin_h"], "h", 2),
            texts.PLAN_MARGIN_HELP.format(reserve=plain(plan["reserve_h"], "h", 2)),
        ),
        (texts.PLAN_CYCLES, plain(plan["cycles"], "", 3).strip(), texts.PLAN_CYCLES_HELP),
        (
            texts.PLAN_COST,
            money_words(plan),
            texts.PLAN_COST_HELP.format(gap=percent(plan["gap_frac"], 2)),
        ),
        (
            texts.PLAN_RULES,
            rules_words(plan["verdicts"]),
            texts.PLAN_RULES_HELP,
        ),
        (texts.PLAN_APPROVER, texts.TIER.get(plan["tier"] or "", texts.TIER_NONE), None),
    ]


def money_words(plan: Doc) -> str:
    """Return what the plan is expected to cost in money."""
    money = plan.get("money")
    return texts.PLAN_COST_UNKNOWN if money is None else f"{money['total']:,.2f} {money['currency']}"


def rules_words(verdicts: Sequence[Doc]) -> str:
    """Return how many rules the newest verdict passed or broke."""
    if not verdicts:
        return texts.PLAN_NOT_CHECKED
    last = verdicts[-1]
    if last["approved"]:
        return texts.PLAN_PASSED.format(count=len(last["doc"].get("passed", [])))
    return texts.PLAN_BROKEN.format(count=len(last["doc"].get("broken", [])))


def _rules(plan: Doc) -> None:
    for verdict in plan["verdicts"][-1:]:
        if not verdict["approved"]:
            st.error(texts.PLAN_REJECTED, icon=":material/block:")
            for one in verdict["doc"].get("broken", []):
                st.markdown(f"- **{one['rule']} {words(one['name'])}** ({one['where']}): {one['message']}")
            continue
        with st.expander(texts.PLAN_RULES_SHOW.format(gate=verdict["gate"])):
            for one in verdict["doc"].get("passed", []):
                st.markdown(f"- **{one['rule']}** {one['message']}")


def _approval(desk: Desk, plan: Doc, key: str) -> None:
    for one in plan["approvals"]:
        counted = "" if one["counts"] else texts.PLAN_NOT_COUNTED
        st.caption(texts.PLAN_APPROVED_BY.format(who=one["approver"], counted=counted))
    for one in plan["declines"]:
        st.caption(texts.PLAN_DECLINED_BY.format(who=one["who"], reason=harmless(one["reason"])))
    if plan["status"] not in _OPEN:
        return
    if plan["approvals_missing"]:
        st.caption(texts.PLAN_MISSING.format(count=plan["approvals_missing"]))
    if not desk.may("approver"):
        st.caption(texts.PLAN_WHO_APPROVES)
        _change(desk, plan, key)
        return
    with st.container(horizontal=True):
        if plan["may_approve"] and plan["approvals_missing"]:
            _approve(desk, plan, key)
        _decline(desk, plan, key)
        _change(desk, plan, key)
    if not plan["may_approve"] and plan["approvals_missing"]:
        st.caption(texts.PLAN_WHY_NOT.format(why=plan["why_not"]))


def _approve(desk: Desk, plan: Doc, key: str) -> None:
    with ask(texts.PLAN_APPROVE, f"approve {key}", icon=":material/check:", kind="primary"):
        st.write(
            texts.PLAN_APPROVE_LEAD.format(
                way=way(plan),
                when=span(plan["window_start"], plan["window_end"], desk.zone),
                sites=plan["sites"],
            )
        )
        if st.button(texts.PLAN_APPROVE_CONFIRM, key=f"approve {key}", type="primary"):
            path, body = f"/v1/plans/{plan['plan_id']}/approve", {"envelope_digest": plan["envelope_digest"]}
            attempt(lambda: desk.api.act("POST", path, body), texts.PLAN_APPROVED)
            st.rerun(scope="app")


def _decline(desk: Desk, plan: Doc, key: str) -> None:
    with ask(texts.PLAN_DECLINE, f"decline {key}", icon=":material/close:"):
        reason_button(
            desk,
            f"/v1/plans/{plan['plan_id']}/decline",
            key=f"decline {key}",
            confirm=texts.PLAN_DECLINE_CONFIRM,
            done=texts.PLAN_DECLINED,
        )


def _change(desk: Desk, plan: Doc, key: str) -> None:
    if not desk.may("operator") or plan["status"] not in CHANGEABLE or not plan["feeder_ids"]:
        return
    if st.button(texts.PLAN_CHANGE, key=f"change {key}", icon=":material/edit:", help=texts.PLAN_CHANGE_HELP):
        go_to("chat", change=plan["plan_id"])


def reason_button(desk: Desk, path: str, *, key: str, confirm: str, done: Any, field: str = "reason") -> None:
    """Ask for a reason and post it; say what came of it."""
    reason = reason_asked(key)
    if st.button(confirm, key=f"confirm {key}", type="primary"):
        if not good_reason(reason):
            st.warning(texts.REASON_SHORT)
            return
        attempt(lambda: desk.api.act("POST", path, {field: reason.strip()}), done)
        st.rerun(scope="app")
