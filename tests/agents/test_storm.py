"""What the mode in force forbids is refused by the gate, and the planner is asked for another goal."""

from edge.safety.limits import OperatingMode
from tests.agents.harness import bench_over
from tests.agents.test_loop import a_loop, events, once, say
from tests.services import Database


async def test_in_a_storm_a_plan_asked_for_in_words_comes_to_nothing_and_the_reason_is_told(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        bench.world.mode = OperatingMode.STORM
        say(bench, "shave the peak on feeder-1 from 18:00 to 19:30")
        await once(a_loop(bench))
        [message] = events(bench, "message")
        assert message["text"] == (
            "None of the 2 compared plans was taken. The operating mode is storm, in which no peak is shaved;"
            # 112.5 kW outside and 4 x 2100 / 0.96 W of sites.
            " feeder-1 is expected to reach 121.2 kW at its import limit of 114.0 kW, 7.2 kW above it."
        )
        [verdict] = bench.sql("SELECT doc #>> '{broken,0,rule}' FROM plan_verdict")
        assert verdict == ("S13",)
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]


async def test_in_a_storm_the_batteries_may_still_be_charged(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.world.mode = OperatingMode.STORM
        bench.world.soc = dict.fromkeys(bench.world.soc, 0.6)
        say(bench, "recharge the sites of feeder-2 for the next 2 hours")
        await once(a_loop(bench))
        [plan] = events(bench, "plan")
        assert plan["plans"][0]["direction"] == "charge"
        assert len(bench.sql("SELECT plan_id FROM dispatch_request")) == 1
