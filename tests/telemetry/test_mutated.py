"""Payloads that a broken gateway, a bad link or a hostile site may send: each ends in quarantine or is a whole message."""

from random import Random

import psycopg

from telemetry.ingest import Ingest
from telemetry.spill import Message
from telemetry.wire import TelemetryMessage, WireError, decode, encode, telemetry_message
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

TOPIC = "cbs/v1/cbs-0001/telemetry"
GOOD = encode(telemetry_message((READING,)))
COUNT = 2_000


def _mutated(random: Random) -> bytes:
    """Cut, flip, double or insert at a random place, until the result is no message any more."""
    while True:
        place = random.randrange(len(GOOD))
        match random.randrange(4):
            case 0:
                payload = GOOD[:place]
            case 1:
                payload = GOOD[:place] + bytes([GOOD[place] ^ (1 << random.randrange(8))]) + GOOD[place + 1 :]
            case 2:
                payload = GOOD[:place] + GOOD[place : place + 9] + GOOD[place:]
            case _:
                payload = GOOD[:place] + random.randbytes(4) + GOOD[place:]
        try:
            decode(payload, TelemetryMessage)
        except WireError:
            return payload


def test_each_of_two_thousand_mutated_payloads_is_in_quarantine_with_a_reason(database: Database) -> None:
    random = Random(3)
    payloads = [_mutated(random) for _ in range(COUNT)]
    messages = [Message(topic=TOPIC, payload=each, arrived_at=NOW) for each in (*payloads, GOOD)]
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        ingest = Ingest(lambda: connection, lambda *_, **__: None, lambda: NOW)
        for first in range(0, len(messages), 500):
            ingest._store(connection, messages[first : first + 500])
        kept = connection.execute("SELECT payload FROM quarantine WHERE reason <> '' ORDER BY quarantine_id")
        assert [bytes(payload) for (payload,) in kept] == payloads
        assert connection.execute("SELECT count(*), min(at) FROM reading").fetchone() == (1, NOW)
        assert ingest.counts.refused == COUNT
