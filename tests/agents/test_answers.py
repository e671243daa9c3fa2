"""Every fixed answer of the policy planner survives the grounding that a language model's answer has to pass."""

from datetime import timedelta

from psycopg.types.json import Jsonb

from agents.answers import answer_for
from telemetry.model.incident import Incident, IncidentState, Severity
from telemetry.model.site import SiteId
from tests.agents.harness import bench_over
from tests.agents.test_loop import a_loop, events, once, say
from tests.agents.worlds import NOW
from tests.services import Database
from ui.ops.secrets import DatabaseRole

QUESTIONS = {
    "Is the fleet all right?": "6 sites are online",
    "what is cbs-0001 doing": "It may not be dispatched: S8 site cbs-0001: active alarms: an alarm whose text is not a plain name.",
    "how long does cbs-0002 last": "cbs-0002 runs 8.0 h",
    "forecast for feeder-1": "the upper forecast is 7.25 kW above it",
    "forecast for cbs-0001": "expected to peak at 2.0 kW, at most 2.1 kW",
    "any incidents?": "inc-7f: load at cbs-0004, warning, since 10 Mar 13:50 UTC.",
    "data quality of cbs-0001": "score 1.0; dispatch needs 0.9",
    "load of cbs-0001 over the last 2 hours": "mean 1500.0, lowest 1000.0, highest 2000.0",
    "state of feeder-2": "feeder-2 may reach",
    "why was plan-rejected-1-deep rejected?": "2 rules were broken. S7: site cbs-0003: its controller is not online.",
    "compare the alternatives": "4 sites, 7.904 kW relief",
    "dispatch plan-rejected-1-deep": "I cannot answer that: plan plan-rejected-1-deep is rejected, not validated or approved.",
    "sing": "I am the policy planner",
}


async def test_no_sentence_of_a_fixed_answer_is_dropped(database: Database) -> None:
    async with bench_over(database) as bench:
        loop = a_loop(bench)
        bench.sql("SELECT ensure_reading_partitions(%s, %s)", NOW.date(), NOW.date())
        for minute, load_w in ((60, 1000.0), (40, 2000.0)):
            bench.sql(
                "INSERT INTO reading (site_id, at, boot_id, sequence, load_w) VALUES ('cbs-0001', %s, 'b', %s, %s)",
                NOW - timedelta(minutes=minute), minute, load_w, role=DatabaseRole.INGEST,
            )  # fmt: skip
        bench.sql("INSERT INTO site_quality VALUES ('cbs-0001', %s, 1.0, %s)", NOW, Jsonb({}))
        bench.before_look = lambda number: bench.world.offline.update({"cbs-0003"} if number >= 5 else ())
        say(bench, "", thread_id="rejected", cycle=True)
        loop.deps = bench.deps()
        await once(loop)
        bench.before_look = lambda _: None
        bench.world.offline.clear()
        bench.world.alarms = {"cbs-0001": ("door 99 open",)}
        bench.world.incidents = [
            Incident(
                incident_id="inc-7f", site_id=SiteId("cbs-0004"), kind="load", since=NOW - timedelta(hours=2), until=None,
                score=3.0, severity=Severity.WARNING, evidence={}, state=IncidentState.OPEN,
            )
        ]  # fmt: skip
        rejected = bench.sql("SELECT plan_id FROM plan WHERE status = 'rejected'")[0][0]
        for number, (question, expected) in enumerate(QUESTIONS.items()):
            thread_id = f"q{number}"
            asked = question.replace("plan-rejected-1-deep", str(rejected))
            say(bench, asked, thread_id=thread_id)
            await once(loop)
            [message] = events(bench, "message", thread_id)
            assert expected.replace("plan-rejected-1-deep", str(rejected)) in message["text"], message["text"]
            assert message["notes"] == [], question


def test_the_health_of_a_battery_is_told_with_its_interval_and_what_it_is_worth() -> None:
    known = {
        "site_id": "cbs-0001", "soh_pct": 93.3, "soh_from_pct": 89.0, "soh_to_pct": 97.6, "end_of_life_month": "2031-05",
        "end_of_life_from": "2029-01", "end_of_life_to": "2034-02", "end_of_life_pct": 80.0, "note": "small cells only",
    }  # fmt: skip
    said = answer_for({"tool": "health_battery", "result": known})
    assert "93.3 % (89.0 to 97.6 %)" in said
    assert said.endswith("between 2029-01 and 2034-02. Note: small cells only.")
    unknown = {
        **known,
        "soh_pct": None,
        "soh_why": "nothing seen",
        "end_of_life_month": None,
        "end_of_life_why": "no soh",
    }
    assert "not known (nothing seen)" in answer_for({"tool": "health_battery", "result": unknown})


def test_batteries_to_replace_are_told_by_the_month_to_order_by() -> None:
    line = {"site_id": "cbs-0001", "month": "2026-08", "likely": "2027-01"}
    found = {"within_months": 24, "batteries": [line], "not_known": 3, "note": "n"}
    assert answer_for({"tool": "health_replacements", "result": found}) == (
        "cbs-0001: order by 2026-08, likely 2027-01. Of 3 batteries nothing is known. Note: n."
    )
    none = {**found, "batteries": [], "not_known": 0}
    assert answer_for({"tool": "health_replacements", "result": none}) == (
        "No battery is due within 24 months. Note: n."
    )
