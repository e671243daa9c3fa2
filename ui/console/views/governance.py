"""The settings' tabs on what governs the agent: the approval policy in force, and the model with what it used."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk
from ui.console.formats import harmless, words
from ui.console.tables import show_rows


def show_policy(desk: Desk) -> None:
    """Draw the tiers in force; without any it is said that nobody may approve, and why."""
    found = desk.api.get("/v1/settings/policy")
    st.caption(texts.POLICY_LEAD)
    if not found["tiers"]:
        st.error(texts.POLICY_NONE.format(why=harmless(found["why"])), icon=":material/block:")
        return
    show_rows(tier_rows(found["tiers"]), key="tiers")


def tier_rows(tiers: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return the table of tiers."""
    return [
        {
            "tier": texts.TIER.get(one["tier"], words(one["tier"])),
            "most_kw": one["max_total_w"] / 1e3,
            "most_sites": one["max_sites"],
            "depth_pct": 100.0 * one["max_depth_frac"],
            "which": texts.POLICY_SIMULATED if one["simulated_only"] else texts.POLICY_ANY,
            "modes": ", ".join(one["modes"]),
            "objectives": ", ".join(words(kind) for kind in one["objectives"]),
            "valid_h": float(one["max_validity_h"]),
        }
        for one in tiers
    ]


def show_model(desk: Desk) -> None:
    """Draw which planner answers, and what language models used against what they may."""
    found = desk.api.get("/v1/settings/model")
    sentence = texts.MODEL_PLANNERS[found["planner"]]
    st.write(harmless(sentence.format(name=found["name"], host=found["host"])))
    last = found["answered_last"]
    st.caption(texts.MODEL_LAST.format(model=harmless(last)) if last else texts.MODEL_LAST_NONE)
    day, thread = found["per_day"], found["per_thread"]
    with st.container(horizontal=True):
        tokens = "" if day["tokens"] is None else f"{day['tokens']:,}"
        st.metric(texts.MODEL_TOKENS, against(f"{found['used_tokens']:,}", tokens), width=260)
        money = "" if day["money"] is None else f"{day['money']:,.2f}"
        st.metric(texts.MODEL_MONEY, against(f"{found['used_money']:,.2f}", money), width=260)
    st.caption(
        texts.MODEL_PER_THREAD.format(
            tokens=texts.MODEL_NO_LIMIT if thread["tokens"] is None else f"{thread['tokens']:,}",
            money=texts.MODEL_NO_LIMIT if thread["money"] is None else f"{thread['money']:,.2f}",
        )
    )
    if found["used"]:
        show_rows(found["used"], key="model use")
    else:
        st.caption(texts.MODEL_UNUSED)
    st.caption(texts.MODEL_NOTE)


def against(used: str, limit: str) -> str:
    """Return what was used against a limit; empty: there is none."""
    return texts.MODEL_OF.format(used=used, limit=limit or texts.MODEL_NO_LIMIT)
