"""Figures of one kind side by side as bars, for a terminal: which model errs least is then seen at a glance."""

from collections.abc import Mapping
from itertools import groupby

_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(figures: Mapping[str, float], *, width: int = _WIDTH) -> list[str]:
    """Return lines with a bar for each figure of a family of three or more, longest bar = the family's largest.

    A family shares its first word and what it measures (`pjm ... mape_frac`, `np ... mae_eur_per_mwh`); figures below zero have no bar.
    """
    lines: list[str] = []
    by_family = sorted(figures, key=lambda key: (_family(key), list(figures).index(key)))
    for family, members in groupby(by_family, key=_family):
        keys = list(members)
        most = max(figures[key] for key in keys)
        if len(keys) < 3 or most <= 0.0:
            continue
        lines += [f"{family[0]} ... {family[1]}"]
        inner = [_inner(key, family) for key in keys]
        longest = max(map(len, inner))
        lines += [
            f"  {name:<{longest}}  {_bar(figures[key] / most, width)}  {figures[key]:.3g}"
            for key, name in zip(keys, inner, strict=True)
        ]
    return lines


def _family(key: str) -> tuple[str, str]:
    words = key.split("_")
    measure = words.index("per") - 2 if "per" in words else len(words) - 2
    return words[0], "_".join(words[max(measure, 1) :])


def _inner(key: str, family: tuple[str, str]) -> str:
    return key.removeprefix(family[0]).removesuffix(family[1]).strip("_") or "all"


def _bar(share: float, width: int) -> str:
    eighths = round(max(share, 0.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)
