"""The contracts do not change unnoticed: schemas and examples are committed, and both fit the types."""

import json
from datetime import timedelta

import jsonschema
import msgspec
import pytest

from edge.envelope import KeySet, Unverified, Verified, public_bytes, verify_command, verify_keys
from telemetry.wire import WireError, decode
from tests.contracts.contracts import (
    COMMAND,
    EXAMPLES,
    HERE,
    NOW,
    ROOT,
    SIGNING,
    STOP,
    contract_type,
    example,
    schema,
    text_of,
)

NAMES = sorted(EXAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_schema_and_example_are_those_of_the_code(name: str) -> None:
    assert (HERE / "schemas" / f"{name}.json").read_text() == text_of(schema(name))
    assert (HERE / "examples" / f"{name}.json").read_text() == text_of(example(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_fits_the_schema_and_comes_back_as_it_was(name: str) -> None:
    text = (HERE / "examples" / f"{name}.json").read_bytes()
    stored = json.loads(text)
    jsonschema.Draft202012Validator(schema(name)).validate(stored)
    back: object = msgspec.json.decode(text, type=contract_type(name))
    assert json.loads(msgspec.json.encode(back)) == stored


@pytest.mark.parametrize(
    "name", ["telemetry_message", "state_message", "command", "command_payload", "ack_message"]
)
def test_an_unknown_key_on_the_wire_is_an_error_that_names_it(name: str) -> None:
    doc = {**example(name), "surprise": 1}
    with pytest.raises(WireError, match="surprise"):
        decode(json.dumps(doc).encode(), contract_type(name))


def test_no_contract_was_left_behind_in_the_folder() -> None:
    assert sorted(path.stem for path in (HERE / "schemas").iterdir()) == NAMES
    assert sorted(path.stem for path in (HERE / "examples").iterdir()) == NAMES


@pytest.mark.parametrize(("name", "command"), [("command", COMMAND), ("fleet_command", STOP)])
def test_the_signed_examples_verify_with_the_key_set_example(name: str, command: object) -> None:
    keys = verify_keys((HERE / "examples" / "key_set.json").read_bytes(), public_bytes(ROOT))
    assert isinstance(keys, KeySet)
    verified = verify_command((HERE / "examples" / f"{name}.json").read_bytes(), keys, NOW)
    assert isinstance(verified, Verified)
    assert verified.command == command


def test_one_flipped_bit_anywhere_in_the_payload_is_found() -> None:
    keys = verify_keys((HERE / "examples" / "key_set.json").read_bytes(), public_bytes(ROOT))
    assert isinstance(keys, KeySet)
    good = (HERE / "examples" / "command.json").read_bytes()
    start = good.index(b'"payload_b64": "') + len(b'"payload_b64": "')
    end = good.index(b'"', start)
    for place in range(start, end, 7):
        bad = bytearray(good)
        bad[place] ^= 1
        assert not isinstance(verify_command(bytes(bad), keys, NOW), Verified)


def test_a_key_outside_its_time_signs_nothing() -> None:
    keys = verify_keys((HERE / "examples" / "key_set.json").read_bytes(), public_bytes(ROOT))
    assert isinstance(keys, KeySet)
    late = verify_command(
        (HERE / "examples" / "command.json").read_bytes(), keys, NOW + timedelta(hours=1000)
    )
    assert isinstance(late, Unverified)
    assert late.reason == "key_expired"


def test_a_command_key_cannot_sign_a_key_set() -> None:
    refused = verify_keys((HERE / "examples" / "key_set.json").read_bytes(), public_bytes(SIGNING))
    assert isinstance(refused, Unverified)
    assert refused.reason == "bad_signature"
