"""What the scenario's report holds, in figures and in words (simulated)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from ui.ops.demo_replay import Quarters, undispatched_grid_w
from ui.ops.demo_store import DemoStore
from ui.ops.runtime import Runtime

_LOCAL = ZoneInfo("Europe/Rome")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeederOutcome:
    """A feeder's measured peak in the plan's window, and that of the same hours run again without dispatch, W."""

    feeder_id: str
    limit_w: float
    peak_with_w: float
    peak_without_w: float
    promised_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything the report says; JSON-able facts from the database, none made here."""

    plan: Mapping[str, Any]
    sites: int
    events: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    approvers: Sequence[str]
    answers: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any]
    feeders: Sequence[FeederOutcome]
    lowest_soc: Mapping[str, Mapping[str, float]]

    @property
    def delivery(self) -> Mapping[str, Any]:
        """Commanded against delivered."""
        delivery: Mapping[str, Any] = self.report["delivery"]
        return delivery


def gather(store: DemoStore, found: Mapping[str, Any], runtime: Runtime) -> Outcome:
    """Read everything about a plan that has run, and run its hours again without it."""
    plan_id = str(found["plan_id"])
    doc = found["doc"]
    start, end = found["window_start"], found["window_end"]
    site_ids = [site["site_id"] for site in doc["sites"]]
    undispatched = undispatched_grid_w(runtime, start, end)
    return Outcome(
        plan=found,
        sites=runtime.simulated_sites,
        events=store.events(["step", "plan", "message"]),
        verdicts=store.verdicts(plan_id),
        approvers=store.approvers(plan_id),
        answers=store.answers(plan_id),
        report=store.report(plan_id) or {},
        feeders=[
            _feeder(effect, store.feeder_quarters(effect["feeder_id"], start, end), undispatched)
            for effect in doc["expected"]["feeders"]
        ],
        lowest_soc=store.lowest_soc(site_ids, start, end + timedelta(minutes=2)),
    )


def _feeder(
    effect: Mapping[str, Any], quarters: Sequence[Mapping[str, Any]], undispatched: Mapping[str, Quarters]
) -> FeederOutcome:
    sites_w = undispatched[effect["feeder_id"]]
    with_w = [row["background_w"] + row["grid_w"] for row in quarters]
    without_w = [row["background_w"] + sites_w[row["slot"]] for row in quarters]
    return FeederOutcome(
        feeder_id=effect["feeder_id"],
        limit_w=effect["limit_w"],
        peak_with_w=max(with_w, default=0.0),
        peak_without_w=max(without_w, default=0.0),
        promised_w=effect["peak_without_w"] - effect["peak_with_w"],
    )


def margins_h(outcome: Outcome) -> dict[str, float]:
    """Return the hours of backup above the reserve that the validator saw at each site's tightest step."""
    for verdict in reversed(outcome.verdicts):
        margins = verdict["doc"].get("margins") or []
        if margins:
            return {margin["site_id"]: float(margin["autonomy_h"]) for margin in margins}
    return {}


def figures_of(outcome: Outcome | None, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of `--json`: null where a stage that gives them was not reached."""
    base: dict[str, Any] = {"simulated": True, "stages": list(stages)}
    if outcome is None:
        return base | dict.fromkeys(
            (
                "sites",
                "commanded_w",
                "delivered_w",
                "deviation_frac",
                "acks",
                "min_autonomy_margin_h",
                "feeder_peak_w",
                "model",
            )
        )
    delivery = outcome.delivery
    hours = (outcome.plan["window_end"] - outcome.plan["window_start"]) / timedelta(hours=1)
    deviation = delivery["deviation_pct"]
    return base | {
        "sites": outcome.sites,
        "sites_in_plan": delivery["sites_planned"],
        "commanded_w": round(1e3 * delivery["commanded_kwh"] / hours, 1),
        "delivered_w": round(1e3 * delivery["delivered_kwh"] / hours, 1),
        "limited_wh": round(1e3 * delivery["limited_kwh"], 1),
        "deviation_frac": None if deviation is None else deviation / 100.0,
        "acks": len(outcome.answers),
        "accepted": delivery["sites_accepted"],
        "mean_answer_s": _mean([answer["seconds"] for answer in outcome.answers]),
        "min_autonomy_margin_h": min(margins_h(outcome).values(), default=None),
        "feeder_peak_w": {
            feeder.feeder_id: {"with": round(feeder.peak_with_w), "without": round(feeder.peak_without_w)}
            for feeder in outcome.feeders
        },
        "model": _model(str(outcome.report.get("planner", ""))),
    }


def _model(planner: str) -> str:
    """Return which kind of planner a report names: policy, embedded or endpoint."""
    return next((kind for kind in ("policy", "embedded") if kind in planner), "endpoint")


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def print_report(outcome: Outcome, stages: Sequence[Mapping[str, Any]]) -> None:
    """Print the report for people."""
    out = Console(width=110)
    plan, delivery = outcome.plan, outcome.delivery
    start, end = (plan[name].astimezone(_LOCAL) for name in ("window_start", "window_end"))
    out.rule("[bold]CellWatt demo: one evening peak, simulated")
    out.print(f"\n[bold]What was decided[/bold]  {outcome.report.get('message', '')}")
    out.print(
        f"\n{outcome.sites} simulated sites, {delivery['sites_planned']} in plan {plan['plan_id']},"
        f" {start:%H:%M} to {end:%H:%M} local time, by the {outcome.report.get('planner')}."
    )
    out.print(_plans_table(outcome))
    out.print(_rules_table(outcome))
    out.print(f"Approved by: {', '.join(outcome.approvers) or 'nobody'} (tier {outcome.report.get('tier')}).")
    seconds = _mean([answer["seconds"] for answer in outcome.answers])
    out.print(
        f"Sent {delivery['sites_sent']}, acknowledged {len(outcome.answers)}, accepted"
        f" {delivery['sites_accepted']}; signing to acknowledgement {seconds} s on average (simulated sites)."
    )
    out.print(
        f"Commanded {delivery['commanded_kwh']} kWh, delivered {delivery['delivered_kwh']} kWh at the battery"
        f" terminals, deviation by quarter hours {delivery['deviation_pct']} %; limited {delivery['limited_kwh']} kWh."
    )
    out.print(_feeder_table(outcome))
    out.print(_backup_table(outcome))
    out.print("Stages: " + ", ".join(f"{stage['name']} {stage['seconds']:.1f} s" for stage in stages))


def _plans_table(outcome: Outcome) -> Table:
    table = Table(title="Plans compared", title_justify="left")
    for name in ("plan", "sites", "relief kW", "battery kWh", "cycles", "least margin h", "gap %"):
        table.add_column(name, justify="left" if name == "plan" else "right")
    compared = [event["body"] for event in outcome.events if event["kind"] == "plan"]
    for one in compared[-1]["plans"] if compared else []:
        chosen = " (chosen)" if one["plan_id"] == outcome.plan["plan_id"] else ""
        table.add_row(
            one["plan_id"].rpartition("-")[2] + chosen,
            str(one["sites"]),
            f"{one['relief_kw']:.1f}",
            f"{one['discharge_kwh']:.1f}",
            f"{one['cycles']:.3f}",
            f"{one['reserve_margin_h']:.2f}",
            f"{one['gap_pct']:.2f}",
        )
    return table


def _rules_table(outcome: Outcome) -> Table:
    table = Table(title="Why each rule passed (at minting, on fresh state)", title_justify="left")
    table.add_column("rule")
    table.add_column("because")
    for rule in outcome.verdicts[-1]["doc"].get("passed", []) if outcome.verdicts else []:
        table.add_row(rule["rule"], rule["message"])
    return table


def _feeder_table(outcome: Outcome) -> Table:
    table = Table(
        title="Feeders, quarter-hour peaks in the window, measured and run again without dispatch (simulated), kW",
        title_justify="left",
    )
    for name in ("feeder", "limit", "without us", "with us", "shaved", "promised", "share of the excess"):
        table.add_column(name, justify="left" if name == "feeder" else "right")
    for feeder in outcome.feeders:
        shaved_w = feeder.peak_without_w - feeder.peak_with_w
        excess_w = feeder.peak_without_w - feeder.limit_w
        values = (feeder.limit_w, feeder.peak_without_w, feeder.peak_with_w, shaved_w, feeder.promised_w)
        share = f"{100.0 * shaved_w / excess_w:.0f} %" if excess_w > 0.0 else "was not above it"
        table.add_row(feeder.feeder_id, *(f"{value / 1e3:.1f}" for value in values), share)
    return table


def _backup_table(outcome: Outcome) -> Table:
    table = Table(title="Backup left per site (simulated)", title_justify="left")
    for name in (
        "site",
        "asked",
        "commanded Wh",
        "delivered Wh",
        "limited Wh",
        "lowest SoC %",
        "above reserve h",
    ):
        table.add_column(name, justify="left" if name in {"site", "asked"} else "right")
    margins = margins_h(outcome)
    for site in outcome.delivery["sites"]:
        soc = outcome.lowest_soc.get(site["site_id"], {}).get("soc_frac")
        margin = margins.get(site["site_id"])
        table.add_row(
            site["site_id"],
            site["verdict"],
            f"{site['commanded_wh']:.0f}",
            f"{site['delivered_wh']:.0f}",
            f"{site['limited_wh']:.0f}",
            "" if soc is None else f"{100.0 * soc:.1f}",
            "" if margin is None else f"{margin:.2f}",
        )
    return table
