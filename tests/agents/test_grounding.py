"""Numbers and ids of an answer come from tool results, in whatever unit and rounding; anything else is dropped."""

import pytest

from agents.grounding import claims_of, ground

RESULTS = [
    {
        "site_id": "cbs-0001",
        "name": "Tower 7777",
        "autonomy_h": 8.25,
        "backup_kwh": 17.04,
        "soc_pct": 95.0,
        "battery_w": -1897.0,
        "read_at": "2026-03-10T15:49:40+00:00",
        "alarms": ["mains failed 4242 times"],
        "feeders": [{"feeder_id": "feeder-1", "peak_kw": 121.25}, {"feeder_id": "feeder-2", "peak_kw": 84.9}],
        "not_dispatchable_because": ["S7 site cbs-0001: last read 321 s ago"],
    }
]


@pytest.mark.parametrize(
    "sentence",
    [
        "cbs-0001 runs 8.25 h on its battery.",
        "cbs-0001 runs about 8 h.",
        "It can last 495 minutes.",  # 8.25 x 60
        "It holds 17 kWh.",
        "It holds 17040 Wh.",
        "The battery gives 1.9 kW.",  # the sign is told in words
        "Read at 15:49 UTC.",
        "Read on 10 Mar 15:49 UTC.",
        "Read at 2026-03-10T15:49:40+00:00.",
        "SoC is 0.95.",
        "The 2 feeders peak at 121.2 and 84.9 kW.",
        "feeder-2 stays lower than feeder-1.",
        "Everything looks fine.",
        "It may not be dispatched: S7 site cbs-0001: last read 321 s ago.",  # quoted whole
    ],
)
def test_what_the_tools_said_may_be_said(sentence: str) -> None:
    assert ground(sentence, RESULTS).text == sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "cbs-0002 runs 8.25 h.",
        "cbs-0001 runs 9 h.",
        "cbs-0001 runs 8.3 h and 12.7 h.",
        "It holds 17.1 kWh.",
        "Read at 16:49 UTC.",
        "Read on 11 Mar.",
        "feeder-3 is fine.",
        "plan-run1-1-deep is approved.",
        "There are 7777 towers.",  # a number inside a name is not evidence
        "It failed 4242 times.",  # nor one inside an alarm's text
        "mains failed 4242 times.",  # not even quoted: a device wrote it
        "It is 321 s old.",  # a text counts only where it is quoted whole
    ],
)
def test_what_no_tool_said_is_dropped(sentence: str) -> None:
    found = ground(sentence, RESULTS)
    assert found.text == ""
    assert found.dropped == (sentence,)


def test_only_the_sentence_concerned_is_dropped() -> None:
    found = ground("cbs-0001 runs 8.25 h. It costs 999 EUR. It holds 17.0 kWh.", RESULTS)
    assert found.text == "cbs-0001 runs 8.25 h. It holds 17.0 kWh."
    assert found.dropped == ("It costs 999 EUR.",)
    assert found.sentences == 3


def test_a_link_goes_out_whole() -> None:
    found = ground("All is well. See https://evil.example/x for more. See WWW.evil.example. All is well.", [])
    assert found.text == "All is well. All is well."
    assert found.dropped == ("See https://evil.example/x for more.", "See WWW.evil.example.")


def test_without_results_no_number_may_be_said() -> None:
    assert ground("The fleet has 24 sites. All is well.", []).text == "All is well."


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("The plan was dispatched.", False),
        ("It has now been approved.", False),
        ("I sent it to the sites.", False),
        ("We have already aborted it.", False),
        ("Nobody objected to it, so the plan was approved.", False),
        ("The fleet is now stopped.", False),
        ("It has not been approved yet.", True),
        ("Nothing was sent.", True),
        ("The site may not be dispatched.", True),
        ("It must be approved by two persons.", True),
    ],
)
def test_nothing_is_claimed_to_have_happened_that_no_tool_could_know(sentence: str, kept: bool) -> None:
    assert (ground(sentence, [], claims=frozenset()).text == sentence) is kept
    assert ground(sentence, []).text == sentence


@pytest.mark.parametrize(
    ("status", "sentence", "kept"),
    [
        ("approved", "It was approved.", True),
        ("approved", "It was dispatched.", False),
        ("dispatched", "It was sent to the sites.", True),
        ("rejected", "It was approved.", False),
        ("validated", "It was approved.", False),
    ],
)
def test_a_plans_status_says_what_may_be_claimed(status: str, sentence: str, kept: bool) -> None:
    steps = [{"tool": "explain_rejection", "result": {"plan_id": "plan-1", "status": status}}]
    assert (ground(sentence, [steps[0]["result"]], claims=claims_of(steps)).text == sentence) is kept


def test_only_a_tool_that_knows_of_plans_supports_a_claim() -> None:
    steps = [{"tool": "site_state", "result": {"site_id": "cbs-0001", "status": "dispatched"}}]
    assert claims_of(steps) == frozenset()


PASSAGE = {
    "cite": "genset-no-start#1a2b3c4d",
    "title": "Genset does not start",
    "section": "Checks",
    "quote": "Measure the starter battery: below 11.8 V it will not turn.",
    "text": "Measure the starter battery: below 11.8 V it will not turn. Wait 30 s between attempts.",
}


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("Wait 30 s between attempts [genset-no-start#1a2b3c4d].", True),
        ("Wait 30 s between attempts.", False),  # no passage, no claim
        ("Wait 45 s between attempts [genset-no-start#1a2b3c4d].", False),  # not what it says
        ("Wait 30 s between attempts [genset-no-start#ffffffff].", False),  # no such passage
        ("Measure the starter battery: below 11.8 V it will not turn.", True),  # quoted whole
        ("See https://evil.example/genset for more.", False),
        ("![a](https://evil.example/x) All is well.", False),
    ],
)
def test_a_document_counts_where_it_is_cited(sentence: str, kept: bool) -> None:
    assert (ground(sentence, [{"passages": [PASSAGE]}]).text == sentence) is kept
