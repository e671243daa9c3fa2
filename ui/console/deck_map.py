"""The fleet on a map of roads and coasts, where the installation names a style to draw it by. Pure but for the setting."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from math import log2
from typing import Any

import pydeck

from ui.console.api_client import Doc
from ui.console.charts import GREY, STATE_COLOURS
from ui.console.fleet_charts import hover_of, state_of

STYLE = "CELLWATT_MAP_STYLE"
LAYER = "sites"
# Colour alone says nothing to some: what is not as it should be is also larger.
_TROUBLED = frozenset({"outage", "fault", "offline"})
_RADIUS_PX, _TROUBLED_PX = 7, 11
_WHOLE_EARTH_DEG = 360.0
_MOST_ZOOM = 12.0
_MARGIN = 1.5


def map_style(env: Mapping[str, str] = os.environ) -> str:
    """Return the address of the style (MapLibre's JSON), empty where none is set: then no page asks another server."""
    found = env.get(STYLE, "").strip()
    return found if found.startswith(("https://", "http://")) else ""


def deck_of(sites: Sequence[Doc], style: str) -> Any:
    """Return the sites as dots over the style's map; without the map the dots remain."""
    layer = pydeck.Layer(
        "ScatterplotLayer",
        data=dots(sites),
        id=LAYER,
        get_position="[longitude, latitude]",
        get_fill_color="colour",
        get_radius="radius_px",
        radius_units=pydeck.types.String("pixels"),  # a bare text would be taken for an expression
        get_line_color=[255, 255, 255],
        line_width_min_pixels=1,
        stroked=True,
        pickable=True,
        auto_highlight=True,
    )
    return pydeck.Deck(
        layers=[layer],
        map_style=style,
        map_provider="maplibre",
        initial_view_state=pydeck.ViewState(**view_of(sites)),
        tooltip={"html": "{hover}"},
    )


def dots(sites: Sequence[Doc]) -> list[dict[str, Any]]:
    """Return what is drawn of each site."""
    return [
        {
            "site_id": one["site_id"],
            "longitude": one["longitude"],
            "latitude": one["latitude"],
            "colour": _rgb(STATE_COLOURS.get(state_of(one), GREY)),
            "radius_px": _TROUBLED_PX if state_of(one) in _TROUBLED else _RADIUS_PX,
            # The tooltip is HTML, and names are what people wrote.
            "hover": hover_of({**one, "site_id": escape(one["site_id"]), "name": escape(one["name"])}),
        }
        for one in sites
    ]


def view_of(sites: Sequence[Doc]) -> dict[str, float]:
    """Return a view with all sites in it: a whole turn of the earth is zoom 0, and each step halves it."""
    longitudes = [one["longitude"] for one in sites]
    latitudes = [one["latitude"] for one in sites]
    span_deg = _MARGIN * max(max(longitudes) - min(longitudes), max(latitudes) - min(latitudes), 1e-6)
    return {
        "longitude": (max(longitudes) + min(longitudes)) / 2,
        "latitude": (max(latitudes) + min(latitudes)) / 2,
        "zoom": max(0.0, min(_MOST_ZOOM, log2(_WHOLE_EARTH_DEG / span_deg))),
    }


def _rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour.removeprefix("#")))
