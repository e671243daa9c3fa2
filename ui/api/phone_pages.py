"""The light approval page as HTML, from data alone: readable at 390 px, without a script, in light and dark (pure)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from http import HTTPStatus
from zoneinfo import ZoneInfo

from fastapi.responses import HTMLResponse

from ui.api.phone_icon import SIZES
from ui.api.phone_texts import TEXTS, words
from ui.api.schemas import PlanFeederEffect, PlanLine, PlanOut

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; manifest-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
MANIFEST = json.dumps(
    {
        "id": "/m",
        "name": TEXTS["app_name"],
        "short_name": TEXTS["app"],
        "start_url": "/m",
        "scope": "/m",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#0b5394",
        "icons": [
            *(
                {
                    "src": f"/m/icon-{side}.png",
                    "sizes": f"{side}x{side}",
                    "type": "image/png",
                    "purpose": purpose,
                }
                for side in SIZES
                for purpose in ("any", "maskable")
            ),
            {"src": "/m/icon.svg", "sizes": "any", "type": "image/svg+xml"},
        ],
    }
)
STYLE = """\
:root { color-scheme: light dark; --line: #c4c9d0; --quiet: #55606d; --go: #0b5394; --no: #9c2a10; --warn: #7a4d00; }
@media (prefers-color-scheme: dark) {
  :root { --line: #4a525c; --quiet: #aab4c0; --go: #2f7fd1; --no: #c8502f; --warn: #e0b050; }
}
* { box-sizing: border-box; }
body { font: 17px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 34rem; padding: 12px 16px 40px; }
h1 { font-size: 1.3rem; margin: 8px 0; } h2 { font-size: 1.1rem; margin: 0 0 4px; overflow-wrap: anywhere; }
header, .row { display: flex; justify-content: space-between; align-items: center; gap: 12px; }
a { color: inherit; } .quiet { color: var(--quiet); font-size: .92rem; } .warn { color: var(--warn); font-weight: 600; }
.card { border: 1px solid var(--line); border-radius: 12px; padding: 14px; margin: 12px 0; display: block; }
a.card { text-decoration: none; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 14px; margin: 10px 0; }
dt { color: var(--quiet); } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
label { display: block; margin: 10px 0 4px; }
input[type=text], input[type=password] { width: 100%; font: inherit; padding: 12px; border: 1px solid var(--line); border-radius: 8px; }
.check { display: flex; gap: 12px; align-items: center; min-height: 48px; } .check input { width: 24px; height: 24px; }
button, summary { font: inherit; font-weight: 600; min-height: 48px; width: 100%; border-radius: 10px; padding: 12px; cursor: pointer; }
button { border: 0; color: #fff; background: var(--go); margin-top: 10px; } button.no { background: var(--no); }
summary { border: 1px solid var(--line); text-align: center; list-style: none; margin-top: 12px; }
:focus-visible { outline: 3px solid var(--go); outline-offset: 2px; }
pre { overflow-x: auto; font-size: .85rem; border: 1px solid var(--line); border-radius: 8px; padding: 10px; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; } nav ul { padding-left: 18px; } nav a { overflow-wrap: anywhere; }
form.inline button { width: auto; background: none; color: inherit; border: 1px solid var(--line); margin: 0; min-height: 44px; }
.told { border-left: 5px solid var(--go); padding: 10px 12px; margin: 12px 0; } .told.bad { border-color: var(--no); }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks: the name, the form key that only this session knows, whether stop is theirs, and what makes a form act once."""

    name: str
    csrf: str
    may_stop: bool
    once: str


def page(title: str, body: str, visitor: Visitor | None = None) -> str:
    """Return a whole page."""
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {TEXTS['app']}</title>"
        '<link rel="stylesheet" href="/m/style.css"><link rel="manifest" href="/m/manifest.webmanifest">'
        '<link rel="icon" href="/m/icon.svg"><link rel="apple-touch-icon" href="/m/icon-192.png"><meta name="theme-color" content="#0b5394"></head><body>'
    )
    leave = (
        ""
        if visitor is None
        else _form("/m/logout", visitor, f"<button>{TEXTS['logout']}</button>", css="inline")
    )
    top = f'<header><h1><a href="/m">{TEXTS["app"]}</a></h1>{leave}</header>'
    return f"{head}{top}<main>{body}</main></body></html>"


def html(content: str, status: int = HTTPStatus.OK) -> HTMLResponse:
    """Return a page as an answer that nothing may be put into, framed by or kept of."""
    return HTMLResponse(
        content, status, headers={"Content-Security-Policy": CSP, "Cache-Control": "no-store"}
    )


def login_page(refused: str = "", following: str = "", provider: str = "") -> str:
    """Return the login form; `following` is where it leads, `provider` whom one may sign in with instead."""
    then = f'<input type="hidden" name="next" value="{escape(following)}">' if following else ""
    body = (
        f'{told(refused, bad=True)}<form method="post" action="/m/login" class="card">{then}<h2>{TEXTS["login"]}</h2>'
        f'<label for="name">{TEXTS["name"]}</label>'
        '<input type="text" id="name" name="name" autocomplete="username" autocapitalize="none" required maxlength="64">'
        f'<label for="password">{TEXTS["password"]}</label>'
        '<input type="password" id="password" name="password" autocomplete="current-password" required maxlength="256">'
        f"<button>{TEXTS['login']}</button></form>"
    )
    if provider:
        offer = escape(words("sign_in", label=provider))
        body += f'<a class="card" href="/v1/oidc/start"><strong>{offer}</strong></a>'
    return page(TEXTS["login"], body)


def refused_page(why: str, *, back: str) -> str:
    """Return why a sign-in through the provider was refused, and the ways back; `back` is the console's address."""
    body = f'<h2>{TEXTS["not_in"]}</h2>{told(why, bad=True)}<p><a href="/m/login">{TEXTS["to_login"]}</a></p>'
    if back:
        body += f'<p><a href="{escape(back)}">{TEXTS["to_console"]}</a></p>'
    return page(TEXTS["not_in"], body)


def told(said: str, *, bad: bool = False) -> str:
    """Return what has just happened, or nothing."""
    return f'<p class="told{" bad" if bad else ""}" role="status">{escape(said)}</p>' if said else ""


def list_page(
    lines: Sequence[PlanLine], visitor: Visitor, zone: ZoneInfo, *, stopped: bool, said: str = ""
) -> str:
    """Return the plans that wait for a decision, and the stop."""
    cards = "".join(
        f'<a class="card" href="/m/plans/{escape(one.plan_id)}"><div class="row"><h2>{escape(_title(one.objective))}</h2>'
        f'<span class="quiet">{escape(one.status)}</span></div>{_span(one.window_start, one.window_end, zone)}'
        f'<div class="quiet">{_count(one.sites)} · {escape(one.plan_id)}</div></a>'
        for one in lines
    )
    stop = ""
    if stopped:
        stop = f'<p class="told bad" role="status">{TEXTS["stopped"]}</p>'
    elif visitor.may_stop:
        stop = (
            f'<details><summary>{TEXTS["stop"]}</summary><div class="card"><p>{TEXTS["stop_lead"]}</p>'
            + _form("/m/stop", visitor, f'{_reason("stop")}<button class="no">{TEXTS["stop"]}</button>')
            + "</div></details>"
        )
    shown = cards or f"<p>{TEXTS['none']}</p>"
    body = f"{told(said)}<h1>{TEXTS['plans']}</h1>{shown}{stop}"
    return page(TEXTS["plans"], body, visitor)


def plan_page(plan: PlanOut, visitor: Visitor, zone: ZoneInfo, *, said: str = "", bad: bool = False) -> str:
    """Return a plan's card with the decisions that are open to this person."""
    rows = [
        (TEXTS["power"], way(plan)),
        (TEXTS["energy"], _energy(plan)),
        (TEXTS["sites"], _sites(plan)),
        (TEXTS["reserve"], words("reserve_left", hours=plan.reserve_margin_h)),
        (TEXTS["cost"], words("cost_is", money=_money(plan), cycles=plan.cycles)),
        (TEXTS["who"], _who(plan)),
        *((words("feeder", feeder=one.feeder_id), _feeder(one)) for one in plan.feeders),
    ]
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    why = f'<p class="quiet">{escape(plan.objective_text)}</p>' if plan.objective_text else ""
    body = (
        f'{told(said, bad=bad)}<article class="card"><div class="row"><h2>{escape(_title(plan.objective))}</h2>'
        f'<span class="quiet">{escape(plan.status)}</span></div>{_span(plan.window_start, plan.window_end, zone)}'
        f'{why}<dl>{facts}</dl><p class="quiet">{escape(plan.plan_id)}</p></article>'
        f'{_decisions(plan, visitor)}<p><a href="/m">{TEXTS["back"]}</a></p>'
    )
    return page(_title(plan.objective), body, visitor)


def incident_page(
    *,
    title: str,
    lines: Sequence[str],
    history: Sequence[tuple[datetime, str, str]],
    visitor: Visitor,
    zone: ZoneInfo,
) -> str:
    """Return an incident as a message leads to it: what is known, and who said what (instant, who, why)."""
    known = "".join(f"<p>{escape(line)}</p>" for line in lines)
    said = "".join(
        f"<li>{at.astimezone(zone):%d.%m. %H:%M} {escape(who)}: {escape(why)}</li>"
        for at, who, why in history
    )
    return page(title, f"<h2>{escape(title)}</h2>{known}<ul>{said}</ul>", visitor)


def way(plan: PlanOut) -> str:
    """Return which way the batteries go and how strongly at most, in words rather than by sign."""
    gives = words("gives", kw=plan.peak_discharge_w / 1e3)
    takes = words("takes", kw=plan.peak_charge_w / 1e3)
    told = {
        "discharge": gives,
        "charge": takes,
        "charge and discharge": words("both", gives=gives, takes=takes),
    }
    return told.get(plan.direction, TEXTS["rests"])


def _energy(plan: PlanOut) -> str:
    parts = [("out", plan.discharge_wh), ("in", plan.charge_wh)]
    return ", ".join(words(way_, kwh=wh / 1e3) for way_, wh in parts if wh) or TEXTS["no_energy"]


def _money(plan: PlanOut) -> str:
    if plan.money is None:
        return TEXTS["no_money"]
    return words("money", total=plan.money.total, currency=plan.money.currency)


def _who(plan: PlanOut) -> str:
    so_far = ", ".join(one.approver for one in plan.approvals if one.counts)
    missing = words("more_needed", missing=plan.approvals_missing) if plan.approvals_missing else ""
    said = words("yes_from", names=so_far) if so_far else ""
    return TEXTS[f"tier_{plan.tier or 'none'}"] + missing + said


def _sites(plan: PlanOut) -> str:
    real = plan.sites - plan.simulated_sites
    return words("some_real" if real else "all_simulated", sites=plan.sites, real=real)


def _feeder(one: PlanFeederEffect) -> str:
    kw = {"without": one.peak_without_w, "with_": one.peak_with_w, "limit": one.limit_w}
    return words("feeder_is", **{name: value / 1e3 for name, value in kw.items()})


def _decisions(plan: PlanOut, visitor: Visitor) -> str:
    if not plan.may_approve:
        return f'<p class="warn">{escape(plan.why_not[:1].upper() + plan.why_not[1:])}.</p>'
    where = f"/m/plans/{escape(plan.plan_id)}"
    digest = f'<input type="hidden" name="envelope_digest" value="{escape(plan.envelope_digest)}">'
    yes = (
        f'{digest}<label class="check"><input type="checkbox" name="seen" value="yes" required>'
        f"<span>{TEXTS['approve_check']}</span></label><button>{TEXTS['approve']}</button>"
    )
    no = f'{_reason("decline")}<button class="no">{TEXTS["decline"]}</button>'
    return (
        f'<details><summary>{words("more", what=TEXTS["approve"])}</summary><div class="card">{_form(f"{where}/approve", visitor, yes)}</div>'
        f'</details><details><summary>{words("more", what=TEXTS["decline"])}</summary><div class="card">'
        f"{_form(f'{where}/decline', visitor, no)}</div></details>"
    )


def _reason(name: str) -> str:
    return (
        f'<label for="reason-{name}">{TEXTS["reason"]}</label><input type="text" id="reason-{name}" name="reason" required'
        ' minlength="3" maxlength="500">'
    )


def _form(action: str, visitor: Visitor, inner: str, *, css: str = "") -> str:
    key = f'<input type="hidden" name="csrf" value="{escape(visitor.csrf)}">'
    once = f'<input type="hidden" name="once" value="{escape(visitor.once)}">'
    return f'<form method="post" action="{action}" class="{css}">{key}{once}{inner}</form>'


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    first, last = start.astimezone(zone), end.astimezone(zone)
    days = "" if first.date() == last.date() else f"{last:%d %b} "
    return f"<div><strong>{first:%a %d %b %H:%M} – {days}{last:%H:%M}</strong> <span class='quiet'>{escape(str(zone))}</span></div>"


def _count(sites: int) -> str:
    return words("one_site" if sites == 1 else "many_sites", sites=sites)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
