"""One battery's health in short, on the page of its site."""

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import Desk
from ui.console.formats import NOTHING, harmless, percent, plain
from ui.console.health_charts import month_of, soh_words


def show_battery_health(desk: Desk, site_id: str) -> None:
    """Draw state of health with its interval, resistance, wear and the month to replace it by, with what they are worth."""
    found = desk.api.get(f"/v1/sites/{site_id}/health")
    battery = found["battery"]
    st.markdown(f"**{texts.SITE_HEALTH}**")
    with st.container(horizontal=True):
        for label, value in health_figures(found):
            st.metric(label, value, width=150)
    st.caption(
        texts.SITE_HEALTH_WHY.format(
            soh=harmless(battery["soh_why"]), life=harmless(battery["remaining_why"])
        )
    )
    simulated = f"{texts.SITE_HEALTH_SIMULATED} " if battery["simulated"] else ""
    st.caption(simulated + texts.HEALTH_NOTE.format(note=found["note"], days=found["days"]))
    if found["observations"] or found["not_counted"]:
        with st.expander(texts.SITE_HEALTH_SEEN.format(count=len(found["observations"]))):
            st.markdown("\n".join(f"- {harmless(line)}" for line in seen(found)))


def health_figures(found: Doc) -> list[tuple[str, str]]:
    """Return the figures as label and value."""
    battery, ohm = found["battery"], found["resistance_ohm"]
    return [
        (texts.COLUMN["soh"], soh_words(battery)),
        (texts.COLUMN["replace_by"], battery["replace_month"] or NOTHING),
        (texts.COLUMN["likely"], month_of(battery, "middle")),
        (texts.SITE_HEALTH_RESISTANCE, plain(None if ohm is None else 1e3 * ohm, "mΩ", 2)),
        (texts.SITE_HEALTH_CYCLES, plain(battery["full_cycles"], "", 2).strip()),
        (texts.SITE_HEALTH_WEAR, percent(battery["wear_frac_per_year"], 1)),
    ]


def seen(found: Doc) -> list[str]:
    """Return the observations behind the state of health, the newest first, then what was not counted and why."""
    lines = [
        f"{one['at'][:10]}: {percent(one['soh_frac'], 1)} ({one['method'].replace('_', ' ')}; {one['evidence']})"
        for one in reversed(found["observations"])
    ]
    return [*lines, *(texts.SITE_HEALTH_NOT_COUNTED.format(why=one) for one in found["not_counted"])]
