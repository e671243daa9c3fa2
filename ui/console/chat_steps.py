"""The tool calls of a conversation: folded, and with a picture where what was found is a course of time."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, Doc
from ui.console.charts import QUIET
from ui.console.chat_charts import (
    feeder_forecast_figure,
    same_forecast,
    series_figure,
    site_forecast_figure,
    window_figure,
)
from ui.console.desk import Desk
from ui.console.formats import harmless, plain, words
from ui.console.transcript import is_choice


def show_steps(desk: Desk, steps: Sequence[Doc], key: str) -> None:
    """Draw the steps of one stretch of work: tool calls one by one, the planner's choices together at the end."""
    for number, step in enumerate(steps):
        if not is_choice(step):
            _step(step)
            _picture(desk, step, f"{key} {number}")
    choices = [one for one in steps if is_choice(one)]
    if choices:
        with st.expander(texts.CHAT_CHOICES.format(count=len(choices)), icon=":material/alt_route:"):
            for one in choices:
                st.markdown(
                    f"- {words(one['tool'])}: **{one['result']}** ({plain(one.get('seconds'), 's', 2)})"
                )
                if one.get("note"):
                    st.caption(harmless(one["note"]))


def _step(step: Doc) -> None:
    failed = "error" in step
    icon = ":material/error:" if failed else ":material/build:"
    seconds = plain(step.get("seconds"), "s", 2)
    with st.expander(f"{words(step['tool'])} · {seconds}", icon=icon):
        st.caption(texts.CHAT_ASKED)
        st.json(step.get("arguments", {}), expanded=2)
        st.caption(texts.CHAT_ERROR if failed else texts.CHAT_GOT)
        found = step.get("error", step.get("result"))
        if isinstance(found, dict):
            st.json(found, expanded=1)
        else:
            st.write(found)


def _picture(desk: Desk, step: Doc, key: str) -> None:
    result = step.get("result")
    if not isinstance(result, dict):
        return
    figure: go.Figure | None = None
    if step["tool"] == "telemetry_window":
        figure, what = window_figure(result, desk.zone), f"{result.get('metric')} {result.get('site_id')}"
    elif result.get("picture") == "metric":
        figure, what = _course(desk, result), f"{result.get('metric')} {result.get('site_id')}"
    elif step["tool"] == "forecast" or result.get("picture"):
        figure, what = _forecast(desk, result), str(result.get("subject_id"))
        if figure is None:
            st.caption(texts.CHART_REPLACED)
    if figure is not None:
        st.plotly_chart(figure, key=f"picture {key}", config=QUIET, alt=f"{words(step['tool'])}: {what}")


def _course(desk: Desk, result: Doc) -> go.Figure | None:
    """Return the course of a metric over the window that the tool named; None where it cannot be had any more."""
    window = {name: str(result[name]) for name in ("metric", "start", "end")}
    try:
        found = desk.api.get(f"/v1/sites/{result['site_id']}/series", points=300, **window)
    except ApiError:
        return None
    return series_figure(found, desk.zone)


def _forecast(desk: Desk, result: Doc) -> go.Figure | None:
    """Return the forecast that the answer rests on; None where a newer one has taken its place."""
    subject = result.get("subject_id")
    try:
        if "import_limit_kw" in result:
            found = desk.api.get(f"/v1/feeders/{subject}/series")
            ahead = found["forecast"]
            if ahead is None or not same_forecast(result, ahead["made_at"]):
                return None
            return feeder_forecast_figure(ahead, found["import_limit_w"], desk.zone)
        sun = result.get("picture") == "pv"
        forecast = desk.api.get(f"/v1/forecasts/{subject}", quantity="pv_w" if sun else "load_w")
    except ApiError:
        return None  # the answer itself is worth reading all the same
    if not same_forecast(result, forecast["made_at"]):
        return None
    return site_forecast_figure(forecast, desk.zone, texts.CHART_PV if sun else texts.CHART_LOAD)
