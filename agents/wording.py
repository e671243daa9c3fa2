"""What words are: slips mended, other languages noticed, ids and powers found. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

_KNOWN = (
    "status", "state", "fleet", "site", "sites", "online", "feeder", "feeders", "forecast", "expected", "expect", "predict", "peak",
    "tomorrow", "today", "tonight", "incident", "incidents", "alarm", "alarms", "wrong", "broken", "fault", "problem", "backup", "autonomy",
    "long", "last", "hold", "quality", "trust", "history", "trend", "telemetry", "voltage", "temperature", "charge", "recharge", "discharge",
    "shave", "shaving", "reduce", "relieve", "lower", "plan", "plans", "compare", "alternatives", "rejected", "declined", "dispatch", "from",
    "until", "evening", "morning", "afternoon", "between", "without", "except", "overview", "procedure", "load", "many", "show", "what", "which",
    "have", "with", "this", "that", "when", "there", "they", "over", "past", "hours", "minutes", "battery", "batteries", "solar",
)  # fmt: skip
_ENGLISH_WORDS = (
    "the a an is are was be of to in on at for and or not how what which who why where when do does did can could will would shall should may i you"
    " we it its my our your this that these those there all any some from with without until till by about over off please show me give make tell"
    " as if than then now today tomorrow tonight up down out no yes hi hello ok right need want has have had"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN_WORDS = (
    "der die das ist wie es geht und nicht ein eine für von mit auf bitte wann welche zeige laut heute morgen le la les des est combien de temps"
    " sans pour dans quel quelle avec sur et du hay el los las cuánto cuántos qué por para con una abiertos está och är det på inte hur många visa"
    " ja on onko kuinka mikä missä huomenna aamulla tänään illalla paljonko lataa laadin come sono quanto della il gli per che quanti di com os uma"
    " quantos está não het een hoe niet van voor welke toon jak ile jest nie czy"
)
_FOREIGN = frozenset(_FOREIGN_WORDS.split())
_POWER = re.compile(r"(?<![\w.-])(\d+(?:\.\d+)?) ?(kw|mw|w|watts?|kilowatts?|megawatts?)\b")
_KW: Mapping[str, float] = {"k": 1.0, "m": 1e3, "w": 1e-3}
_ID_LIKE = re.compile(r"(?<![\w-])[a-z]+(?:-[a-z0-9]+)*-\d+(?![\w-])")


def mended(text: str) -> str:
    """Return the text in small letters with the slips of words that matter put right; ids stay as they are."""
    return re.sub(r"[a-z]{4,}(?![\w-]*\d)", lambda found: _mend(found[0]), text.lower())


def _mend(word: str) -> str:
    if word in _ENGLISH or word in _KNOWN or word in _FOREIGN:
        return word
    stem = word.removesuffix("s")
    if stem in _KNOWN or any(word.startswith(known) for known in _KNOWN if len(known) > 4):
        return word
    like = get_close_matches(word, _KNOWN, n=1, cutoff=0.82)
    if like:
        return like[0]
    return next((known for known in _KNOWN if sorted(known) == sorted(word)), word)


def is_foreign(text: str) -> bool:
    """Whether the text reads like another language than English."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    other = sum(word in _FOREIGN and word not in _ENGLISH for word in words)
    odd = sum(any(ord(letter) > 0x17F for letter in word) for word in words)  # not Latin script
    accents = sum(any(ord(letter) > 0x7F for letter in word) for word in words)
    english = sum(word in _ENGLISH for word in words)
    return odd > 0 or other + accents > english


def named(names: Iterable[str], text: str) -> list[str]:
    """Return the ids that a text (small letters) names, in the order of the ids."""
    return [
        name
        for name in names
        if re.search(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", text) is not None
    ]


def id_like(text: str) -> list[str]:
    """Return what looks like an id."""
    return _ID_LIKE.findall(text.lower())


def relief_kw_in(text: str) -> float | None:
    """Return the power that a text names, kW."""
    found = _POWER.search(text.lower())
    return None if found is None else round(float(found[1]) * _KW[found[2][0]], 6)


def continued(text: str, history: Sequence[Mapping[str, str]]) -> str:
    """Return a follow-up turn as a request of its own: the last one of the operator's with what is new put in.

    "And cbs-2?" after "How long does cbs-1 last?" asks how long cbs-2 lasts; "from 18:00 to 20:00" completes a plan.
    """
    before = next((one["text"] for one in reversed(history) if one.get("who") == "operator"), "")
    if not before:
        return text
    lower, ids = text.lower(), id_like(text)
    rest = re.sub(r"[a-z]+(?:-[a-z0-9]+)*-\d+", "", lower)
    bare = re.sub(
        r"\b(?:and|the|same|for|what|about|also|at|now|then|again|ok|please|do|it)\b|[\W_]", "", rest
    )
    if ids and not bare:
        return _with_ids(before, ids)
    if not ids and re.fullmatch(r"(?:and |but |so )?(?:why(?: not)?|how come)\W*", lower):
        return f"{before} why"
    if not ids and re.match(r"(?:from|at|between|for|until|this|tonight|tomorrow|\d)", lower):
        return f"{text} {before}"
    return text


def _with_ids(before: str, ids: Sequence[str]) -> str:
    """Put new ids where the old ones of the same kind were."""
    kind = ids[0].partition("-")[0]
    old = [one for one in id_like(before) if one.partition("-")[0] == kind]
    if not old:
        others = id_like(before)
        return before.lower().replace(others[0], ids[0]) if others else f"{before} {' '.join(ids)}"
    text = before.lower().replace(old[0], " and ".join(ids))
    for extra in old[1:]:
        text = text.replace(extra, "")
    return text
