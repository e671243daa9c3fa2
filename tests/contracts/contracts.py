"""Which types are contracts, and one example of each: the schemas and examples in this folder are made from here.

Run `python -m tests.contracts.contracts` to write them anew after a change, and read the difference before you commit:
whoever integrates with CellWatt reads it too.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, PayloadWire, SignedWire, SigningKey, public_bytes, sign_command, sign_keys
from edge.plan import (
    Acknowledgement,
    AckVerdict,
    Approval,
    ApprovalTier,
    Command,
    CommandId,
    CommandKind,
    EmptyBody,
    Envelope,
    ExpectedEffect,
    FeederEffect,
    Objective,
    ObjectiveKind,
    Plan,
    PlanId,
    ScheduleBody,
    SiteBounds,
    SitePlan,
)
from edge.safety.limits import DayUse, FleetState, IslandProof, Limits, OperatingMode, Policy
from telemetry.model.battery import LFP_BANDS, Battery, Chemistry
from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.reading import FieldQuality, Reading, SiteState, SiteStatus, Verdict
from telemetry.model.series import QUANTILES, Forecast, Quantity
from telemetry.model.site import (
    AutonomyProfile,
    Bus,
    CriticalSite,
    CriticalSiteId,
    DispatchPath,
    FastTerms,
    Feeder,
    FeederId,
    Inverter,
    RadioClusterId,
    RechargeTerms,
    Rectifiers,
    Site,
    SiteId,
    SiteMode,
)
from telemetry.wire import (
    AckMessage,
    EventMessage,
    FeederMessage,
    FeederSample,
    ReadingWire,
    StateMessage,
    StoredMessage,
    TelemetryMessage,
)

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 15, 17, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SITE, FEEDER = SiteId("cbs-0001"), FeederId("feeder-1")
# Test keys: any 32 bytes; nothing real is ever signed with them.
SIGNING, ROOT = (
    Ed25519PrivateKey.from_private_bytes(bytes(32)),
    Ed25519PrivateKey.from_private_bytes(b"\x01" * 32),
)

OBJECTIVE = Objective(
    kind=ObjectiveKind.PEAK_SHAVING, feeder_ids=(FEEDER,), text="keep feeder 1 below its limit"
)
ENVELOPE = Envelope(
    objective=OBJECTIVE,
    window_start=NOW + HOUR,
    window_end=NOW + 1.5 * HOUR,
    sites=(SiteBounds(site_id=SITE, min_w=-2000.0, max_w=0.0, max_discharge_wh=1000.0, max_charge_wh=0.0),),
    total_min_w=-2000.0,
    total_max_w=0.0,
    total_discharge_wh=1000.0,
    reserve_h=4.0,
    valid_until=NOW + 6 * HOUR,
)
COMMAND = Command(
    command_id=CommandId("command-1"),
    plan_id=PlanId("plan-1"),
    site_id=SITE,
    sequence=7,
    accept_by=NOW + timedelta(seconds=60),
    not_before=NOW + HOUR,
    valid_until=NOW + 1.5 * HOUR,
    kind=CommandKind.SCHEDULE,
    body=ScheduleBody(start=NOW + HOUR, step_s=900, setpoint_w=(-2000.0, -1500.0)),
)
STOP = Command(
    command_id=CommandId("stop-1"),
    plan_id=None,
    site_id=None,
    sequence=1,
    accept_by=NOW + HOUR,
    not_before=NOW,
    valid_until=NOW + 24 * HOUR,
    kind=CommandKind.STOP,
    body=EmptyBody(),
)
BATTERY = Battery(
    chemistry=Chemistry.LFP,
    rated_wh=15_360.0,
    soc_min_frac=0.15,
    soc_max_frac=1.0,
    disconnect_soc_frac=0.03,
    backstop_soc_frac=0.08,
    soc_error_frac=0.05,
    charge_efficiency=0.98,
    discharge_efficiency=0.98,
    bands=LFP_BANDS,
    max_cycles_per_day=0.8,
    calibrated_at=NOW - timedelta(days=10),
    capacity_tested_at=NOW - timedelta(days=60),
)

SITE_RECORD = Site(
    site_id=SITE,
    name="Example site",
    latitude=45.464,
    longitude=9.19,
    time_zone="Europe/Rome",
    feeder_id=FEEDER,
    radio_cluster=RadioClusterId("cluster-1"),
    mode=SiteMode.SHADOW,
    simulated=True,
    dispatch_path=DispatchPath.ISC,
    autonomy=AutonomyProfile(
        name="4 h on battery", jurisdiction="example", autonomy_h=4.0, max_load_w=3150.0
    ),
    battery=BATTERY,
    rectifiers=Rectifiers(module_w=3000.0, count=3, efficiency=0.96),
    bus=Bus(
        float_v=54.4,
        backstop_v=47.0,
        voltage_step_v=0.001,
        device_reverts=True,
        continuity_proven_at=NOW - timedelta(days=30),
    ),
    grid_import_limit_w=12_000.0,
    ramp_w_per_step=3000.0,
    pv_rated_w=1500.0,
    inverter=Inverter(
        rated_w=3000.0, certificate=None, transfer_switch_interlocked=False, agreement_expires_at=None
    ),
    genset=None,
    tariff="example",
    maintenance=None,
    commissioned_at=None,
    recharge=RechargeTerms(feeder_share_w=(2500.0,) * 16 + (0.0,) * 5 + (2500.0,) * 3),
    fast=FastTerms(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.3, ramp_w_per_s=5000.0),
)
FEEDER_RECORD = Feeder(
    feeder_id=FEEDER,
    name="Example feeder",
    substation="Example substation",
    import_limit_w=1_200_000.0,
    export_limit_w=0.0,
)
READING = Reading(
    site_id=SITE,
    boot_id="20260115T160000",
    sequence=42,
    at=NOW,
    grid_w=2300.0,
    load_w=2100.0,
    battery_w=5.0,
    soc_frac=0.98,
    mains_ok=True,
    alarms=("door_open",),
    quality={"bus_v": FieldQuality(verdict=Verdict.BAD, reason="unit slip, mV for V", raw=54_400.0)},
)
FORECAST = Forecast(
    subject_id=SITE,
    quantity=Quantity.LOAD_W,
    made_at=NOW,
    start=NOW + HOUR,
    values_w=tuple((2000.0 + 10 * q, 2010.0 + 10 * q) for q in range(len(QUANTILES))),
    cumulative_wh=tuple((500.0 + 2 * q, 1002.0 + 4 * q) for q in range(len(QUANTILES))),
    model="seasonal_naive",
    version="1",
)
PLAN = Plan(
    plan_id=PlanId("plan-1"),
    supersedes=None,
    objective=OBJECTIVE,
    window_start=ENVELOPE.window_start,
    window_end=ENVELOPE.window_end,
    sites=(SitePlan(site_id=SITE, schedule_w=(-2000.0, -1500.0)),),
    envelope=ENVELOPE,
    expected=ExpectedEffect(
        feeders=(
            FeederEffect(
                feeder_id=FEEDER, peak_without_w=1_210_000.0, peak_with_w=1_207_900.0, limit_w=1_200_000.0
            ),
        ),
        relief_w=2083.0,
        discharge_wh=875.0,
        charge_wh=0.0,
        throughput_cycles=0.057,
        score=0.0,
        min_autonomy_margin_h=1.3,
    ),
    bound=12_500.0,
    gap_frac=0.004,
    created_at=NOW,
    provenance={"model": "policy planner (no language model)"},
)

EXAMPLES: Mapping[str, object] = {
    "site": SITE_RECORD,
    "feeder": FEEDER_RECORD,
    "critical_site": CriticalSite(
        critical_site_id=CriticalSiteId("hospital-1"),
        name="Example hospital",
        kind="hospital",
        latitude=45.46,
        longitude=9.19,
        feeder_id=FEEDER,
        priority=1,
        demand_profile="hospital",
        peak_w=400_000.0,
        linked_site_ids=(SITE,),
    ),
    "reading": READING,
    "forecast": FORECAST,
    "incident": Incident(
        incident_id="incident-1",
        site_id=SITE,
        kind="rectifier_efficiency",
        since=NOW - HOUR,
        until=None,
        score=6.2,
        severity=Severity.WARNING,
        evidence={
            "expected_frac": 0.96,
            "observed_frac": 0.89,
            "check_first": "fan and input fuse of module 2",
        },
        state=IncidentState.OPEN,
        history=(IncidentChange(at=NOW, who="detector", state=IncidentState.OPEN, why="six hours below"),),
    ),
    "envelope": ENVELOPE,
    "plan": PLAN,
    "approval": Approval(
        plan_id=PlanId("plan-1"),
        envelope_digest=ENVELOPE.digest(),
        tier=ApprovalTier.TWO_PERSONS,
        approvers=("anna", "bo"),
        approved_at=NOW,
        expires_at=NOW + 6 * HOUR,
    ),
    "limits": Limits(
        sites={SITE: SITE_RECORD}, feeders={FEEDER: FEEDER_RECORD}, policy=Policy(min_quality_score=0.95)
    ),
    "fleet_state": FleetState(
        at=NOW,
        mode=OperatingMode.NORMAL,
        readings={SITE: READING},
        statuses={
            SITE: SiteStatus(
                site_id=SITE, at=NOW, online=True, state=SiteState.FLOAT, local_lock=False, last_sequence=6
            )
        },
        quality_score={SITE: 0.99},
        load={SITE: FORECAST},
        pv={},
        background={FEEDER: replace(FORECAST, subject_id=FEEDER, quantity=Quantity.BACKGROUND_W)},
        day_use={SITE: DayUse(cycles=0.2, discharged_wh=2900.0)},
        live_plans=(PLAN,),
        islands={
            SITE: IslandProof(
                read_at=NOW,
                contact_open=True,
                switching_authority="network operator, order 17",
                authority_expires_at=NOW + HOUR,
            )
        },
    ),
    "command_payload": msgspec.json.decode(
        msgspec.json.encode(
            PayloadWire(
                v=1,
                body=msgspec.Raw(
                    b'{"start":"2026-01-15T18:00:00Z","step_s":900,"setpoint_w":[-2000.0,-1500.0]}'
                ),
                **{
                    name: getattr(COMMAND, name)
                    for name in (
                        "command_id",
                        "plan_id",
                        "site_id",
                        "sequence",
                        "accept_by",
                        "not_before",
                        "valid_until",
                        "kind",
                    )
                },
            )
        )
    ),
    "command": msgspec.json.decode(sign_command(COMMAND, "k-example", SIGNING)[0]),
    "fleet_command": msgspec.json.decode(sign_command(STOP, "k-example", SIGNING)[0]),
    "key_set": msgspec.json.decode(
        sign_keys(
            KeySet(
                epoch=1,
                keys=(
                    SigningKey(
                        key_id="k-example",
                        public=public_bytes(SIGNING),
                        not_before=NOW - HOUR,
                        not_after=NOW + 1000 * HOUR,
                    ),
                ),
            ),
            ROOT,
        )
    ),
    "acknowledgement": Acknowledgement(
        site_id=SITE,
        command_id=CommandId("command-1"),
        digest="0" * 64,
        verdict=AckVerdict.ACCEPTED,
        reason="",
        at=NOW,
        read_back_v=52.1,
    ),
    "telemetry_message": TelemetryMessage(
        v=1,
        site_id=SITE,
        boot_id="20260115T160000",
        readings=(ReadingWire(sequence=42, at=NOW, load_w=2100.0, soc_frac=0.98, mains_ok=True),),
    ),
    "state_message": StateMessage(
        v=1, site_id=SITE, at=NOW, online=True, state=SiteState.FLOAT, local_lock=False, last_sequence=6
    ),
    "event_message": EventMessage(v=1, site_id=SITE, at=NOW, kind="mains_lost"),
    "stored_message": StoredMessage(v=1, site_id=SITE, marks={"20260115T160000": 42}),
    "ack_message": AckMessage(
        v=1, site_id=SITE, command_id="command-1", digest="0" * 64, verdict="accepted", reason="", at=NOW
    ),
    "feeder_message": FeederMessage(
        v=1, feeder_id=FEEDER, samples=(FeederSample(at=NOW, background_w=1_150_000.0),)
    ),
}
_SIGNED = {"command", "fleet_command", "key_set"}


def contract_type(name: str) -> type:
    """Return the type that a contract is an instance of on the wire."""
    if name in _SIGNED:
        return SignedWire
    return PayloadWire if name == "command_payload" else type(EXAMPLES[name])


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a contract."""
    made = msgspec.json.schema(contract_type(name))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **made}


def example(name: str) -> Any:
    """Return the JSON form of a contract's example."""
    return msgspec.to_builtins(EXAMPLES[name])


def text_of(doc: object) -> str:
    """Return a document as it is committed."""
    return json.dumps(doc, indent=1, sort_keys=True) + "\n"


def write_all() -> None:
    """Write every schema and example anew."""
    for name in EXAMPLES:
        (HERE / "schemas" / f"{name}.json").write_text(text_of(schema(name)))
        (HERE / "examples" / f"{name}.json").write_text(text_of(example(name)))


if __name__ == "__main__":
    write_all()
