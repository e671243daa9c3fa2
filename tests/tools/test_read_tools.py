"""The thin tools on the small fleet: small results, values worked out by hand, two kinds of errors."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from edge.plan import ApprovalTier, PlanId
from edge.safety.validator import validate
from telemetry.model.incident import Incident, IncidentState, Severity
from telemetry.model.site import SiteId
from tests.agents.harness import Bench, bench_over
from tests.agents.worlds import NOW, PEAK_FROM, PEAK_UNTIL
from tests.services import Database
from tools.arguments import NoArguments
from tools.catalogue import SETS, TOOLS, SideEffect
from tools.compare_plans import ComparePlansArguments, compare_plans
from tools.data_quality import data_quality
from tools.deps import Deps
from tools.dispatch_request import DispatchArguments, dispatch_request
from tools.errors import ToolInputError, ToolUnavailableError
from tools.explain_rejection import PlanArguments, explain_rejection
from tools.fleet_state import fleet_state
from tools.forecast import ForecastArguments, forecast
from tools.goal import PlanGoal
from tools.incidents import IncidentArguments, incidents
from tools.plan_fleet import propose
from tools.site_autonomy import site_autonomy
from tools.site_state import SiteArguments, site_state
from tools.telemetry_window import WindowArguments, telemetry_window
from ui.ops.secrets import DatabaseRole


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with bench_over(database) as opened:
        yield opened


def deps_of(bench: Bench) -> Deps:
    return bench.deps().tools


def an_incident(number: int, severity: Severity = Severity.WARNING) -> Incident:
    return Incident(
        incident_id=f"inc-{number}", site_id=SiteId(f"cbs-000{number}"), kind="load", since=NOW - timedelta(hours=2),
        until=None, score=3.14159, severity=severity, evidence={"expected": 1000.12345, "check_first": "the door"},
        state=IncidentState.OPEN,
    )  # fmt: skip


async def test_the_fleet_at_a_glance(bench: Bench) -> None:
    bench.world.offline.add("cbs-0006")
    bench.world.soc["cbs-0001"] = 0.5
    found = await fleet_state(NoArguments(), deps_of(bench))
    assert (found["sites"], found["online"], found["dispatchable"]) == (6, 5, 5)
    assert found["not_dispatchable"] == {"cbs-0006": ["S7 site cbs-0006: its controller is not online",
                                                      "S8 site cbs-0006: is in offline"]}  # fmt: skip
    assert (found["soc_min_pct"], found["soc_mean_pct"]) == (50.0, 87.5)  # (5 x 95 + 50) / 6
    north = found["feeders"][0]  # type: ignore[index]
    # 112.5 kW of background at the upper quantile and 4 x 2100 / 0.96 W of sites: 121.25 kW of 114 kW.
    assert (north["peak_kw"], north["over_limit_kw"], north["peak_at"]) == (121.2, 7.2, PEAK_FROM.isoformat())


async def test_a_site_by_its_last_reading(bench: Bench) -> None:
    found = await site_state(SiteArguments(site_id="cbs-0002"), deps_of(bench))
    assert (found["soc_pct"], found["load_w"], found["age_s"], found["state"]) == (
        95.0,
        2000.0,
        20.0,
        "float",
    )
    assert found["not_dispatchable_because"] == []


async def test_an_unknown_site_is_an_input_error_that_names_known_ones(bench: Bench) -> None:
    with pytest.raises(ToolInputError, match="there is no site 'cbs-9'; take one of cbs-0001, cbs-0002"):
        await site_state(SiteArguments(site_id="cbs-9"), deps_of(bench))


async def test_autonomy_at_the_upper_load(bench: Bench) -> None:
    bench.world.soc["cbs-0001"] = 0.45
    found = await site_autonomy(SiteArguments(site_id="cbs-0001"), deps_of(bench))
    # 20 kWh x (0.45 - 0.05 - 0.05) = 7 kWh at 2.1 kW: 3.33 h, 3.25 h in whole quarters; 2 h need 4.2 kWh.
    assert (found["backup_kwh"], found["autonomy_h"], found["required_kwh"]) == (7.0, 3.25, 4.2)
    assert found["spare_kwh"] == 2.8


async def test_a_forecast_with_its_model_and_why(bench: Bench) -> None:
    found = await forecast(ForecastArguments(subject_id="cbs-0001"), deps_of(bench))
    assert (found["peak_kw"], found["peak_upper_kw"], found["lowest_lower_kw"]) == (2.0, 2.1, 1.9)
    assert (found["model"], found["why_this_model"]) == ("seasonal naive", "it did best in backtests")


async def test_a_feeders_forecast_says_when_it_is_too_much(bench: Bench) -> None:
    found = await forecast(ForecastArguments(subject_id="feeder-1"), deps_of(bench))
    assert found["over_limit_from"] == PEAK_FROM.isoformat()
    assert found["over_limit_until"] == PEAK_UNTIL.isoformat()
    assert found["peak_kw"] == round((112_000 + 4 * 2000 / 0.96) / 1e3, 3)
    with pytest.raises(ToolInputError, match="neither a site nor a feeder"):
        await forecast(ForecastArguments(subject_id="moon"), deps_of(bench))


async def test_incidents_worst_first_and_by_site(bench: Bench) -> None:
    bench.world.incidents = [an_incident(1, Severity.CRITICAL), an_incident(2)]
    found = await incidents(IncidentArguments(), deps_of(bench))
    assert found["open"] == 2
    assert found["incidents"][0]["evidence"] == {"expected": 1000.123, "check_first": "the door"}  # type: ignore[index]
    assert (await incidents(IncidentArguments(site_id="cbs-0002"), deps_of(bench)))["open"] == 1


async def test_quality_against_what_dispatch_needs(bench: Bench) -> None:
    bench.sql("INSERT INTO site_quality VALUES ('cbs-0001', %s, 0.8, %s)", NOW, '{"load_w": "stuck"}')
    found = await data_quality(SiteArguments(site_id="cbs-0001"), deps_of(bench))
    assert found == {
        "site_id": "cbs-0001",
        "score": 1.0,
        "needed_for_dispatch": 0.9,
        "doubts": {"load_w": "stuck"},
    }


async def test_a_window_of_telemetry(bench: Bench) -> None:
    bench.sql("SELECT ensure_reading_partitions(%s, %s)", NOW.date(), NOW.date())
    for minute, load_w in ((60, 1000.0), (40, 2000.0), (20, 3000.0)):
        bench.sql(
            "INSERT INTO reading (site_id, at, boot_id, sequence, load_w) VALUES ('cbs-0001', %s, 'b', %s, %s)",
            NOW - timedelta(minutes=minute), 60 - minute, load_w, role=DatabaseRole.INGEST,
        )  # fmt: skip
    found = await telemetry_window(
        WindowArguments(site_id="cbs-0001", metric="load_w", hours=2.0), deps_of(bench)
    )
    assert (found["mean"], found["lowest"], found["highest"]) == (2000.0, 1000.0, 3000.0)
    with pytest.raises(ToolUnavailableError, match="reported no bus_v"):
        await telemetry_window(WindowArguments(site_id="cbs-0001", metric="bus_v"), deps_of(bench))
    with pytest.raises(ToolInputError, match="start must be before end"):
        await telemetry_window(
            WindowArguments(site_id="cbs-0001", metric="load_w", start=NOW, end=NOW), deps_of(bench)
        )


async def a_kept_plan(bench: Bench, *, offline: str = "") -> PlanId:
    """Keep a plan and the gate's verdict on it; with a site offline by then it is rejected."""
    deps = deps_of(bench)
    goal = PlanGoal(objective="peak_shaving", feeder_ids=("feeder-1",), start=PEAK_FROM, end=PEAK_UNTIL)
    plan = propose(bench.world.fleet(NOW), goal, (), NOW, id_stem="kept", provenance={}).plans[0]
    await deps.plans.insert(plan, thread_id="t", who="loop", at=NOW)
    if offline:
        bench.world.offline.add(offline)
    fleet = bench.world.fleet(NOW)
    await deps.plans.record_verdict(validate(plan, fleet.state, fleet.limits, NOW), at=NOW, who="loop")
    return plan.plan_id


async def test_plans_side_by_side(bench: Bench) -> None:
    plan_id = await a_kept_plan(bench)
    found = await compare_plans(ComparePlansArguments(), deps_of(bench))
    one = found["plans"][0]  # type: ignore[index]
    assert (one["plan_id"], one["status"], one["relief_kw"]) == (
        plan_id,
        "validated",
        7.904,
    )  # 4 x 1897 / 0.96
    with pytest.raises(ToolInputError, match="no plan 'plan-x'"):
        await compare_plans(ComparePlansArguments(plan_ids=("plan-x",)), deps_of(bench))


async def test_a_rejection_is_explained_by_its_rules(bench: Bench) -> None:
    plan_id = await a_kept_plan(bench, offline="cbs-0004")
    found = await explain_rejection(PlanArguments(plan_id=plan_id), deps_of(bench))
    assert (found["status"], found["accepted"], found["broken_rules"]) == ("rejected", False, 2)
    assert found["broken"][0] == {  # type: ignore[index]
        "rule": "S7", "where": "cbs-0004", "message": "site cbs-0004: its controller is not online",
    }  # fmt: skip


async def test_a_dispatch_is_requested_once_and_only_with_the_approvals_it_needs(bench: Bench) -> None:
    plan_id = await a_kept_plan(bench)
    bench.tier = ApprovalTier.TWO_PERSONS
    arguments = DispatchArguments(plan_id=plan_id)
    stored = await deps_of(bench).plans.fetch(plan_id)
    assert stored is not None
    bench.approve(stored.plan, "alice", ApprovalTier.TWO_PERSONS)
    with pytest.raises(ToolInputError, match=r"still needs 1 approval"):
        await dispatch_request(arguments, deps_of(bench))
    bench.approve(stored.plan, "bob", ApprovalTier.TWO_PERSONS)
    for _ in range(2):
        assert (await dispatch_request(arguments, deps_of(bench)))["requested"] is True
    assert bench.sql("SELECT plan_id FROM dispatch_request") == [(plan_id,)]


@pytest.mark.parametrize(
    ("tier", "at", "words"),
    [
        (None, NOW, "lets nobody approve"),
        (ApprovalTier.AUTOMATIC, PEAK_FROM, "should have begun at"),
    ],
)
async def test_a_dispatch_that_control_would_refuse_is_not_requested(
    bench: Bench, tier: ApprovalTier | None, at: object, words: str
) -> None:
    plan_id = await a_kept_plan(bench)
    bench.tier, bench.clock.at = tier, at  # type: ignore[assignment]
    with pytest.raises((ToolInputError, ToolUnavailableError), match=words):
        await dispatch_request(DispatchArguments(plan_id=plan_id), deps_of(bench))
    assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]


async def test_a_rejected_plan_cannot_be_requested(bench: Bench) -> None:
    plan_id = await a_kept_plan(bench, offline="cbs-0001")
    with pytest.raises(ToolInputError, match="is rejected, not validated or approved"):
        await dispatch_request(DispatchArguments(plan_id=plan_id), deps_of(bench))


def test_side_effects_are_declared_and_sets_are_small() -> None:
    changing = {
        name: tool.side_effect for name, tool in TOOLS.items() if tool.side_effect is not SideEffect.READ
    }
    assert changing == {"plan": SideEffect.PROPOSE, "dispatch_request": SideEffect.REQUEST}
    assert max(len(names) for names in SETS.values()) <= 8
    assert {name for names in SETS.values() for name in names} == set(TOOLS)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_misspelt_argument_is_an_error(name: str) -> None:
    schema = TOOLS[name].arguments.model_json_schema()
    assert schema["additionalProperties"] is False
