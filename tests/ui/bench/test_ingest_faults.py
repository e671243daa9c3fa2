"""The small form of the fault run: the same faults on the same real processes, with less load and shorter pauses."""

from datetime import UTC, datetime
from random import Random

import pytest

from telemetry.batching import to_batch
from telemetry.decode import Refused, decode_message
from telemetry.spill import Message
from ui.bench.harness import read_outcome
from ui.bench.ingest_faults import SMALL, run
from ui.bench.mutation import bad_messages, good_messages

NOW = datetime(2026, 1, 15, 17, 0, tzinfo=UTC)


@pytest.mark.broker
@pytest.mark.database
def test_everything_sampled_is_there_once_after_every_fault() -> None:
    figures = read_outcome(run(script=SMALL)).figures
    sampled = figures["faults_sampled_count"]
    assert sampled >= 4 * SMALL.sites
    wrong = {
        name: figures[f"faults_{name}_count"]
        for name in (
            *("missing", "doubled", "invented", "unmarked", "pushed_out", "bad_missing", "bad_unreasoned"),
            *("clock_ahead_unnoticed", "clock_wrongly_doubted", "crashes"),
        )
    }
    assert wrong == dict.fromkeys(wrong, 0.0)
    assert figures["faults_bad_sent_count"] == SMALL.bad
    assert figures["faults_workers_killed_count"] == 2
    assert figures["faults_worker_peak_mb"] < 300.0


def test_the_good_messages_are_good_and_each_mutated_one_is_refused_alike_by_both_ways() -> None:
    for kind, payload in good_messages("cbs-1", NOW):
        assert not isinstance(decode_message(f"cbs/v1/cbs-1/{kind}", payload, NOW), Refused)
    bad = list(bad_messages("cbs-1", NOW, Random(3), 3_000))
    messages = [
        Message(topic=f"cbs/v1/cbs-1/{kind}", payload=payload, arrived_at=NOW) for kind, payload in bad
    ]
    batch = to_batch(messages)
    assert [each.payload for each in batch.refused] == [payload for _, payload in bad]
    assert all(each.reason for each in batch.refused)
    assert (batch.rows, batch.readings, batch.feeder, batch.events, batch.statuses) == ([], [], [], [], {})
    assert len({kind for kind, _ in bad}) == 4
