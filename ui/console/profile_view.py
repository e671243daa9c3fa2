"""Which sites are alike in the shape of their load, beside one of them."""

import plotly.graph_objects as go
import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, Doc
from ui.console.charts import BLUE, GREY, QUIET
from ui.console.desk import Desk, go_to
from ui.console.formats import harmless

_HOURS_A_DAY = 24


def group_of(clusters: Doc, site_id: str) -> Doc | None:
    """Return the group that a site is in."""
    return next((one for one in clusters["clusters"] if site_id in one["site_ids"]), None)


def profile_figure(group: Doc) -> go.Figure:
    """Draw a group's typical working day and weekend, in units of the site's own mean load."""
    figure = go.Figure()
    hours = list(range(_HOURS_A_DAY))
    for name, first, colour in ((texts.PEERS_WORKING, 0, BLUE), (texts.PEERS_WEEKEND, _HOURS_A_DAY, GREY)):
        values = group["profile"][first : first + _HOURS_A_DAY]
        figure.add_scatter(x=hours, y=values, name=name, mode="lines", line={"color": colour, "shape": "hv"})
    figure.update_layout(
        height=220,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        yaxis_title=texts.PEERS_OF_MEAN,
        xaxis_title=texts.PEERS_HOUR,
    )
    return figure


def show_profile(desk: Desk, site_id: str) -> None:
    """Draw the site's group, its typical day, its newest move and the other sites in it."""
    with st.expander(texts.PEERS_TITLE):
        try:
            clusters = desk.api.get("/v1/profile-clusters")
        except ApiError as error:
            st.caption(harmless(str(error)))
            return
        group = group_of(clusters, site_id)
        if group is None:
            st.caption(texts.PEERS_NOT_IN_ONE if clusters["clusters"] else texts.PEERS_NONE_YET)
            return
        st.caption(
            texts.PEERS_ABOUT.format(
                label=group["label"],
                count=len(clusters["clusters"]),
                sites=len(group["site_ids"]),
                medoid=harmless(group["medoid_site_id"]),
                stability=max(0.0, clusters["stability"]),
            )
        )
        for move in clusters["moves"]:
            if move["site_id"] == site_id:
                st.caption(texts.PEERS_MOVED.format(before=move["before"], reason=harmless(move["reason"])))
        st.plotly_chart(profile_figure(group), config=QUIET, key=f"profile {site_id}")
        others = [one for one in group["site_ids"] if one != site_id]
        chosen = st.selectbox(texts.PEERS_GO, others, index=None, key=f"like {site_id}")
        if chosen is not None:
            go_to("site", site=str(chosen))
