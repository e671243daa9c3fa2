"""Forecasts: what is expected, by which model, and why that one?"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, Doc
from ui.console.charts import BLUE, CONFIG, PURPLE, QUIET, VERMILLION, blank, line, mark, parsed
from ui.console.component_chart import component_figure
from ui.console.desk import Desk, asked_for, problems_shown
from ui.console.formats import local, moment, now_of
from ui.console.header import show_header
from ui.console.site_charts import forecast_onto, scaled
from ui.console.tables import show_rows

_MOST = 6000
_WITH_COMPONENTS = "prophet"
_STEP_H = 0.25
_MOST_NAMED = 8
_BACK = timedelta(hours=24)


def show_forecasts(desk: Desk) -> None:
    """Draw which model serves whom, and one subject's forecast against what was measured."""
    fleet = show_header(desk, texts.PAGE_FORECASTS, texts.FORECASTS_QUESTION)
    now = now_of(fleet)
    with problems_shown():
        quantity = st.segmented_control(
            texts.FORECASTS_QUANTITY,
            list(texts.QUANTITIES),
            default="load_w",
            required=True,
            format_func=lambda one: texts.QUANTITIES[one],
        )
        with st.spinner(texts.LOADING):
            lines = desk.api.items("/v1/forecasts", most=_MOST, quantity=quantity)
        if not lines:
            st.info(texts.FORECASTS_NONE, icon=":material/hourglass_empty:")
            return
        _models(lines)
        _accuracy(desk.api.get("/v1/forecast-accuracy", quantity=quantity))
        ids = [one["subject_id"] for one in lines]
        asked = asked_for("subject")
        subject = st.selectbox(
            texts.FORECASTS_SUBJECT,
            ids,
            index=ids.index(asked) if asked in ids else 0,
            key=f"subject {quantity}",
        )
        _band(desk, str(subject), str(quantity), now, fleet)
        _own(desk.api.get("/v1/forecast-accuracy", quantity=quantity, subject_id=subject), str(subject))
        st.markdown(f"**{texts.FORECASTS_ALL}**")
        show_rows(forecast_rows(lines, desk.zone), key=f"forecasts {quantity}")


def models_of(lines: Sequence[Doc]) -> dict[str, int]:
    """Return how many subjects each model serves, the busiest first."""
    counts: dict[str, int] = {}
    for one in lines:
        counts[one["model"]] = counts.get(one["model"], 0) + 1
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _models(lines: Sequence[Doc]) -> None:
    with st.container(horizontal=True):
        for model, count in models_of(lines).items():
            st.metric(model, count, border=True, width=170)


def _accuracy(found: Doc) -> None:
    if not found["models"]:
        st.caption(texts.FORECASTS_NO_ACCURACY)
        return
    st.markdown(f"**{texts.FORECASTS_ACCURACY.format(days=found['days'])}**")
    show_rows(accuracy_rows(found["models"]), key=f"accuracy {found['quantity']}")
    st.caption(texts.FORECASTS_ACCURACY_NOTE)
    if found["worst"]:
        st.markdown(f"**{texts.FORECASTS_WORST}**")
        show_rows(worst_rows(found["worst"]), key=f"worst {found['quantity']}")
    grown = [one["subject_id"] for one in found["drifts"] if one["alarmed"]]
    if grown:
        st.warning(
            texts.FORECASTS_DRIFT.format(subjects=", ".join(grown[:_MOST_NAMED])),
            icon=":material/trending_up:",
        )


def _own(found: Doc, subject: str) -> None:
    """Draw how each model that served one subject did there."""
    if not found["models"]:
        st.caption(texts.FORECASTS_OWN_NONE.format(subject=subject, days=found["days"]))
        return
    st.markdown(f"**{texts.FORECASTS_OWN.format(subject=subject)}**")
    show_rows(accuracy_rows(found["models"]), key=f"own accuracy {found['quantity']} {subject}")


def accuracy_rows(models: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return the table of live accuracy, the most accurate model first."""
    return [
        {
            "model": one["model"],
            "forecasts": one["forecasts"],
            "subjects": one["subjects"],
            "mae": float(one["mae_w"]),
            "wape_pct": 100.0 * one["wape_frac"],
            "over_naive": one["over_naive_ratio"],
            "covered_80_pct": 100.0 * one["covered_80_frac"],
            "covered_95_pct": 100.0 * one["covered_95_frac"],
        }
        for one in sorted(models, key=lambda one: float(one["wape_frac"]))
    ]


def worst_rows(subjects: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return the table of the sites or feeders whose forecasts missed most."""
    return [
        {
            "subject_id": one["subject_id"],
            "model": ", ".join(one["models"]),
            "forecasts": one["forecasts"],
            "mae": float(one["mae_w"]),
            "wape_pct": 100.0 * one["wape_frac"],
            "over_naive": one["over_naive_ratio"],
            "covered_80_pct": 100.0 * one["covered_80_frac"],
            "covered_95_pct": 100.0 * one["covered_95_frac"],
        }
        for one in subjects
    ]


def forecast_rows(lines: Sequence[Doc], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the table of forecasts."""
    return [
        {
            "subject_id": one["subject_id"],
            "model": one["model"],
            "why_model": one["reason"],
            "made": local(one["made_at"], zone),
            "reach_h": one["steps"] * _STEP_H,
            "version": one["version"],
        }
        for one in lines
    ]


def _band(desk: Desk, subject: str, quantity: str, now: datetime, fleet: Doc | None) -> None:
    forecast = desk.api.get(f"/v1/forecasts/{subject}", quantity=quantity)
    figure = blank(360, unit="kW")
    forecast_onto(figure, forecast, desk.zone, colour=PURPLE)
    start = now - _BACK
    try:
        at, values = _measured(desk, subject, quantity, start, now)
    except ApiError:
        at, values = [], []  # the forecast alone is worth drawing
    if at:
        line(
            figure,
            parsed(at, desk.zone),
            scaled("load_w", values),
            name=texts.FORECASTS_MEASURED,
            colour=BLUE,
            unit="kW",
        )
    limit = next(
        (
            one["import_limit_w"]
            for one in (fleet or {"feeders": []})["feeders"]
            if one["feeder_id"] == subject
        ),
        None,
    )
    if limit is not None:
        figure.add_hline(
            y=limit / 1e3,
            line={"color": VERMILLION, "dash": "dash", "width": 2},
            annotation_text=texts.FORECASTS_LIMIT,
        )
    mark(figure, now.astimezone(desk.zone), texts.NOW)
    st.plotly_chart(
        figure, key=f"band {quantity} {subject}", config=CONFIG, alt=f"{texts.PAGE_FORECASTS}: {subject}"
    )
    st.caption(
        texts.FORECASTS_WHY.format(
            model=forecast["model"], why=forecast["reason"], version=forecast["version"]
        )
    )
    _components(desk, subject, quantity, forecast)


def _components(desk: Desk, subject: str, quantity: str, forecast: Doc) -> None:
    """Draw what the forecast is made of, once somebody asks: it is fitted anew for that."""
    if forecast["model"] != _WITH_COMPONENTS:
        st.caption(texts.COMPONENTS_NONE)
        return
    if not st.toggle(texts.COMPONENTS_SHOW, key=f"components {quantity} {subject}"):
        return
    with problems_shown():
        with st.spinner(texts.COMPONENTS_FITTING):
            found = desk.api.get(f"/v1/forecasts/{subject}/components", quantity=quantity)
        st.plotly_chart(
            component_figure(found, desk.zone),
            key=f"parts {quantity} {subject}",
            config=QUIET,
            alt=texts.COMPONENTS_SHOW,
        )
        st.caption(texts.COMPONENTS_NOTE.format(made=moment(found["made_at"], desk.zone)))


def _measured(
    desk: Desk, subject: str, quantity: str, start: datetime, now: datetime
) -> tuple[list[str], list[float | None]]:
    window = {"start": start.isoformat(), "end": now.isoformat()}
    if quantity == "background_w":
        found = desk.api.get(f"/v1/feeders/{subject}/series", forecast_h=0, **window)
        return list(found["at"]), list(found["background_w"])
    found = desk.api.get(f"/v1/sites/{subject}/series", metric=quantity, points=500, **window)
    return list(found["at"]), list(found["mean"])
