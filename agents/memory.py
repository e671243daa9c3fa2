"""What a run is told of the turns before it: the last ones in full, those before as a summary. Pure."""

import re
from collections.abc import Mapping, Sequence

from agents.wording import id_like

KEPT = 6  # turns in full
_MOST_CHARACTERS = 500  # of a turn
_MOST_REQUESTS = 8  # in a summary
_PLAN = re.compile(r"\bplan-[\w-]*\w")


def shortened(turns: Sequence[Mapping[str, str]], keep: int = KEPT) -> list[dict[str, str]]:
    """Return the last turns, oldest first, with one `summary` turn before them where there were more.

    The summary is made by code from the turns' own words: how many there were, the ids they spoke of, and how each of the last
    requests among them began. It holds no figures, so that nothing can be grounded in it.
    """
    recent = [{"who": one["who"], "text": one["text"][:_MOST_CHARACTERS]} for one in turns[-keep:]]
    old = turns[:-keep] if len(turns) > keep else ()
    if not old:
        return recent
    text = " ".join(one["text"] for one in old)
    ids = list(dict.fromkeys([*id_like(text), *_PLAN.findall(text)]))
    asked = [_beginning(one["text"]) for one in old if one["who"] == "operator"][-_MOST_REQUESTS:]
    parts = [f"Before that, {len(old)} turns."]
    if ids:
        parts.append(f"They spoke of {', '.join(ids[-12:])}.")
    if asked:
        parts.append(f"The operator asked: {'; '.join(asked)}.")
    return [{"who": "summary", "text": " ".join(parts)[: 2 * _MOST_CHARACTERS]}, *recent]


def _beginning(text: str) -> str:
    words = text.split()
    return " ".join(words[:8]) + (" ..." if len(words) > 8 else "")
