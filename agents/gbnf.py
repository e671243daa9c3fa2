"""Grammars in llama.cpp's notation (GBNF) for one flat JSON object out of several, without spaces. Pure.

JSON schemas would do too, but the server's translation lets the model spend its few tokens a second on white space.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """What a field's value may be, as a GBNF expression; one that is optional may be missing at the end of the object."""

    rule: str
    optional: bool = False


def one_of(values: Iterable[str | int]) -> Field:
    """Return one of a few values."""
    return Field("(" + " | ".join(_literal(json.dumps(value)) for value in values) + ")")


def some_of(values: Sequence[str], most: int = 6) -> Field:
    """Return an array of one or more of a few values."""
    item = one_of(values).rule
    return Field(f'"[" {item} ("," {item}){{0,{max(min(most, len(values)) - 1, 0)}}} "]"')


def text_of(least: int, most: int) -> Field:
    """Return a text of so many characters, none of which needs an escape."""
    return Field(f'"\\"" char{{{least},{most}}} "\\""')


def optional(field: Field) -> Field:
    """Let a field be missing."""
    return Field(field.rule, optional=True)


NUMBER = Field('[1-9] [0-9]{0,2} ("." [0-9])?')
CLOCK = Field('"\\"" ("0" [0-9] | "1" [0-9] | "2" [0-3]) ":" ("00" | "15" | "30" | "45") "\\""')


def grammar(branches: Sequence[tuple[str, Mapping[str, Field]]]) -> str:
    """Return the grammar of objects `{"name": ..., fields...}`, one branch each."""
    lines = ["root ::= " + " | ".join(f"branch{number}" for number in range(len(branches)))]
    for number, (name, fields) in enumerate(branches):
        parts = [_literal('{"name":' + json.dumps(name))]
        for field, one in fields.items():
            part = f"{_literal(',' + json.dumps(field) + ':')} {one.rule}"
            parts.append(f"({part})?" if one.optional else part)
        lines.append(f"branch{number} ::= {' '.join(parts)} {_literal('}')}")
    lines.append(r'char ::= [^"\\\x00-\x1F\x7F]')
    return "\n".join(lines)


def _literal(text: str) -> str:
    """Return a text as a terminal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
