from zoneinfo import ZoneInfo

from tests.ui.console.examples import a_command, an_event
from ui.console.transcript import at_work, card_wanted, is_choice, planner_of, transcript
from ui.console.views.chat import thread_labels

STEP = {"tool": "fleet_state", "arguments": {}, "result": {}, "seconds": 0.1}


def kinds(commands: list[dict[str, object]], events: list[dict[str, object]]) -> list[str]:
    return [one.kind for one in transcript(commands, events)]


def test_a_question_its_steps_and_the_answer_are_read_in_order() -> None:
    entries = transcript(
        [a_command(7, "how much?")],
        [
            an_event(1, "step", 1, starting="choose topic"),
            an_event(2, "step", 1, **STEP),
            an_event(3, "step", 2, **STEP),
            an_event(4, "message", 3, text="8 sites.", planner="policy"),
            an_event(5, "done", 3),
        ],
    )
    assert [one.kind for one in entries] == ["person", "steps", "answer", "ended"]
    assert len(entries[1].steps) == 2
    assert planner_of(entries) == "policy"


def test_tokens_give_way_to_the_message_that_repeats_them() -> None:
    writing = [an_event(1, "token", 0, text="one"), an_event(2, "token", 0, text="two")]
    (entry,) = transcript([], writing)
    assert (entry.kind, entry.body["text"]) == ("writing", "one\n\ntwo")
    assert kinds([], [*writing, an_event(3, "message", 1, text="one\ntwo")]) == ["answer"]


def test_a_wait_is_over_once_something_follows() -> None:
    wait = an_event(1, "interrupt", 0, kind="wait", **{"for": "the plan runs"}, until="x")
    assert kinds([], [wait]) == ["wait"]
    assert kinds([], [wait, an_event(2, "step", 1, **STEP)]) == ["steps"]
    assert kinds([], [wait, an_event(2, "interrupt", 1, kind="approval", plan_id="p")]) == ["approval"]


def test_at_the_same_instant_the_question_comes_first() -> None:
    assert kinds([a_command(900, "?", 5)], [an_event(1, "message", 5, text="!")]) == ["person", "answer"]


def test_it_works_from_a_question_to_its_end() -> None:
    asked = [a_command(1, "?", 0, outcome=None)]
    assert at_work(asked, []) == ""
    assert at_work(asked, [an_event(1, "step", 1, starting="choose topic")]) == "choose topic"
    assert at_work([a_command(1, "?")], [an_event(1, "done", 1)]) is None
    assert at_work([], []) is None


def test_a_run_that_waits_for_approval_is_not_at_work_although_its_command_is_open() -> None:
    waits = [an_event(1, "interrupt", 1, kind="approval", plan_id="p")]
    assert at_work([a_command(1, "?", 0, outcome=None)], waits) is None
    assert at_work([a_command(2, "again", 2, outcome=None)], waits) == ""


def test_a_choice_is_not_a_tool() -> None:
    assert is_choice({"tool": "choose goal"})
    assert not is_choice({"tool": "fleet_state"})


def test_the_chosen_plan_has_one_card() -> None:
    first, second = an_event(1, "plan", 0, chosen="plan-1"), an_event(2, "plan", 1, chosen="plan-2")
    assert card_wanted(transcript([], [first, second])) == "plan-2"
    waits = an_event(3, "interrupt", 2, kind="approval", plan_id="plan-2")
    assert card_wanted(transcript([], [first, second, waits])) == ""
    assert card_wanted([]) == ""


def test_two_conversations_of_one_name_and_minute_are_told_apart() -> None:
    threads = [
        {
            "thread_id": f"chat-{number}",
            "title": "Shave feeder-1",
            "kind": "chat",
            "created_at": "2026-01-14T12:00:00+00:00",
        }
        for number in (1, 2, 3)
    ]
    assert thread_labels(threads, ZoneInfo("UTC")) == {
        "chat-1": "Shave feeder-1 · chat, 14 Jan 12:00 UTC",
        "chat-2": "Shave feeder-1 · chat, 14 Jan 12:00 UTC · chat-2",
        "chat-3": "Shave feeder-1 · chat, 14 Jan 12:00 UTC · chat-3",
    }
