"""The power-flow picture of one site: what flows where, as SVG. Pure."""

from base64 import b64encode
from dataclasses import dataclass
from html import escape

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.charts import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from ui.console.formats import NOTHING, percent, plain

_STILL_W = 20.0  # below this nothing is said to flow: meters read a few watts at rest
_THICK_PX, _THIN_PX = 9.0, 2.5
_INK = "currentColor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Power along one line of the picture, W; positive as drawn, None where it is not measured."""

    name: str
    power_w: float | None
    x1: float
    y1: float
    x2: float
    y2: float
    colour: str


def flows_of(site: Doc, rectifier_w: float | None) -> list[Flow]:
    """Return the lines of the picture: grid and genset to rectifier to bus, bus to load, bus to battery, PV to bus."""
    grid_w = 0.0 if site["mains_ok"] is False else site["grid_w"]
    found = [
        Flow(name="grid", power_w=grid_w, x1=112, y1=130, x2=158, y2=130, colour=BLUE),
        Flow(name="rectifier", power_w=rectifier_w, x1=262, y1=130, x2=326, y2=130, colour=BLUE),
        Flow(name="load", power_w=site["load_w"], x1=334, y1=130, x2=448, y2=130, colour=PURPLE),
        Flow(name="battery", power_w=site["battery_w"], x1=330, y1=138, x2=330, y2=196, colour=GREEN),
    ]
    if site["pv_w"] is not None:
        found.append(Flow(name="pv", power_w=site["pv_w"], x1=330, y1=66, x2=330, y2=122, colour=ORANGE))
    if site["genset_w"] is not None:
        found.append(
            Flow(name="genset", power_w=site["genset_w"], x1=210, y1=66, x2=210, y2=98, colour=VERMILLION)
        )
    return found


def power_flow_picture(site: Doc, rectifier_w: float | None = None, *, dark: bool = False) -> str:
    """Return the picture as an HTML image; its alternative text for a screen reader says the same in words."""
    svg = power_flow_svg(site, rectifier_w).replace(_INK, "#FAFAFA" if dark else "#262730")
    alt = escape(described(site, flows_of(site, rectifier_w)))
    return (
        f'<img class="flow" alt="{alt}" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"/>'
    )


def power_flow_svg(site: Doc, rectifier_w: float | None = None) -> str:
    """Return the picture as SVG; text has the colour `currentColor`."""
    flows = flows_of(site, rectifier_w)
    largest = max((abs(one.power_w) for one in flows if one.power_w is not None), default=0.0)
    mains = texts.FLOW_MAINS[site["mains_ok"]]
    parts = [
        _box(8, 100, 104, 60, texts.FLOW["grid"], mains, VERMILLION if site["mains_ok"] is False else BLUE),
        _box(158, 100, 104, 60, texts.FLOW["rectifier"], texts.FLOW_RECTIFIER, BLUE),
        _box(448, 100, 104, 60, texts.FLOW["load"], texts.FLOW_LOAD, PURPLE),
        _box(
            258,
            196,
            144,
            60,
            texts.FLOW["battery"],
            texts.FLOW_SOC.format(soc=percent(site["soc_frac"])),
            GREEN,
        ),
        f'<circle cx="330" cy="130" r="8" fill="{GREY}"/>',
        f'<text x="344" y="152" font-size="12" fill="{_INK}">{plain(site["bus_v"], "V")}</text>',
        _level(site["soc_frac"]),
    ]
    if site["pv_w"] is not None:
        parts.append(_box(278, 8, 104, 58, texts.FLOW["pv"], texts.FLOW_PV, ORANGE))
    if site["genset_w"] is not None:
        running = texts.FLOW_GENSET[site["genset_w"] > 0.0]
        parts.append(_box(158, 8, 104, 58, texts.FLOW["genset"], running, VERMILLION))
    parts += [_arrow(one, largest) for one in flows]
    top = 70 if site["pv_w"] is None and site["genset_w"] is None else 0  # nothing stands above the bus
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {top} 560 {268 - top}" font-family="Source Sans, Arial, sans-serif">'
        f"{''.join(parts)}</svg>"
    )


def described(site: Doc, flows: list[Flow]) -> str:
    """Return the picture in words."""
    spoken = ", ".join(f"{texts.FLOW[one.name]} {_watts(one.power_w)}" for one in flows)
    return texts.FLOW_SPOKEN.format(site=site["site_id"], flows=spoken)


def direction(flow: Flow) -> int:
    """Return 1 where power flows as drawn, -1 against it, 0 where nothing (or nothing known) flows."""
    if flow.power_w is None or abs(flow.power_w) < _STILL_W:
        return 0
    return 1 if flow.power_w > 0.0 else -1


def _arrow(flow: Flow, largest_w: float) -> str:
    way = direction(flow)
    label = _label(flow)
    if way == 0:
        dash = f'stroke="{GREY}" stroke-width="2" stroke-dasharray="3 5"'
        return f'<line x1="{flow.x1}" y1="{flow.y1}" x2="{flow.x2}" y2="{flow.y2}" {dash}/>{label}'
    share = abs(flow.power_w or 0.0) / largest_w
    width = _THIN_PX + (_THICK_PX - _THIN_PX) * share
    x1, y1, x2, y2 = (flow.x1, flow.y1, flow.x2, flow.y2) if way > 0 else (flow.x2, flow.y2, flow.x1, flow.y1)
    along_x, along_y = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    tip = 9.0 + width / 2
    base_x, base_y, half = x2 - along_x * tip, y2 - along_y * tip, 4.0 + width / 2
    points = f"{x2},{y2} {base_x - along_y * half},{base_y - along_x * half} {base_x + along_y * half},{base_y + along_x * half}"
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{base_x}" y2="{base_y}" stroke="{flow.colour}" stroke-width="{width:.1f}"/>'
        f'<polygon points="{points}" fill="{flow.colour}"/>{label}'
    )


def _label(flow: Flow) -> str:
    middle_x, middle_y = (flow.x1 + flow.x2) / 2, (flow.y1 + flow.y2) / 2
    level = flow.y1 == flow.y2
    x, y, anchor = (middle_x, middle_y - 40, "middle") if level else (middle_x + 14, middle_y + 4, "start")
    text = escape(_watts(flow.power_w))
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="14" font-weight="600" fill="{_INK}">{text}</text>'


def _watts(power_w: float | None) -> str:
    if power_w is None:
        return NOTHING
    return f"{power_w / 1e3:,.2f} kW" if abs(power_w) >= 1e3 else f"{power_w:,.0f} W"


def _box(x: float, y: float, width: float, height: float, title: str, note: str, colour: str) -> str:
    middle = x + width / 2
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{middle}" y="{y + 26}" text-anchor="middle" font-size="15" font-weight="600" fill="{_INK}">'
        f"{escape(title)}</text>"
        f'<text x="{middle}" y="{y + 45}" text-anchor="middle" font-size="12" fill="{_INK}" opacity="0.8">'
        f"{escape(note)}</text>"
    )


def _level(soc_frac: float | None) -> str:
    if soc_frac is None:
        return ""
    width = 140.0 * min(1.0, max(0.0, soc_frac))
    return f'<rect x="260" y="248" width="{width:.1f}" height="6" rx="3" fill="{GREEN}"/>'
