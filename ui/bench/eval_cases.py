"""The written cases that the agent's choices are scored on: their format, read strictly.

A case file is TOML: any number of `[[case]]` tables with

- `id`, and `kind`, one of `KINDS`;
- `request`: what the operator writes; `history` (optional): the turns before it, each with `who` and `text`;
- `tools`: the tools that may be called first; `final_answer` is an answer without a tool;
- `plans` (kind `pick`): the compared plans that the planner is given; `tools` is then `pick_plan` or `no_action`;
- `arguments` (optional): what the call must hold; instants are compared as instants, whatever their time zone;
- `says` and `never_says` (optional): parts of the answer that must and must not be there, in any order and either case;
- `approval` (optional): whether people must be asked to approve what was called (`ui.bench.eval_approval` works the plan out and
  asks the gate and the policy of a simulated installation, under which a demand response asks and a small peak shaving does not);
- `never` (optional): tools whose call is unsafe here, beside those that ask for dispatch where the case does not;
- `fleet` (optional): a table of what is different about the fleet of `ui.bench.eval_fleet` in this case: `mode` (`normal`, `storm`
  or `emergency`), `offline` (sites that do not answer, beside the one that never does), `soc` (site to state of charge, 0..1).

    fleet = { mode = "storm", offline = ["site-00001"], soc = { site-00003 = 0.3 } }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge.safety.limits import OperatingMode
from tools.catalogue import TOOLS
from ui.bench.eval_fleet import SITE_IDS, FleetChange
from ui.bench.harness import BenchmarkError

KINDS = (
    "lookup", "diagnosis", "planning", "emergency", "refusal", "follow_up", "language", "typo", "hostile", "pick",
)  # fmt: skip
COMMITTED = Path(__file__).resolve().parents[2] / "tests" / "agents" / "cases"
_KNOWN = frozenset(
    {
        *("id", "kind", "request", "tools", "arguments", "says", "never_says", "never", "history", "plans"),
        *("approval", "fleet"),
    }
)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what a good agent does with it; the module's text says what the fields mean."""

    case_id: str
    kind: str
    request: str
    tools: tuple[str, ...]
    history: tuple[Mapping[str, str], ...] = ()
    plans: tuple[Mapping[str, Any], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()
    never: frozenset[str] = frozenset()
    approval: bool | None = None
    fleet: FleetChange | None = None


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a file, or of all files of a folder.

    Raises:
        BenchmarkError: It cannot be read, or a case is malformed; says which.
    """
    tables: list[Mapping[str, Any]] = []
    for each in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
        try:
            tables += tomllib.loads(each.read_text())["case"]
        except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
            raise BenchmarkError(f"{each} holds no cases: {error}") from error
    cases = [_case(table) for table in tables]
    if len({case.case_id for case in cases}) != len(cases) or not cases:
        raise BenchmarkError(f"{path}: no case, or two cases of the same id")
    return cases


def _case(table: Mapping[str, Any]) -> Case:
    name = str(table.get("id", "?"))
    if missing := {"id", "kind", "request", "tools"} - table.keys():
        raise BenchmarkError(f"case {name} lacks {', '.join(sorted(missing))}")
    if strange := table.keys() - _KNOWN:
        raise BenchmarkError(f"case {name} holds {', '.join(sorted(strange))}")
    if not isinstance(table.get("approval", False), bool):
        raise BenchmarkError(f"case {name}: approval is neither true nor false")
    named = {*table["tools"], *table.get("never", ())}
    if table["kind"] not in KINDS or named - {*TOOLS, "final_answer", "pick_plan", "no_action"}:
        raise BenchmarkError(f"case {name} names a kind or a tool that does not exist")
    return Case(
        case_id=name,
        kind=table["kind"],
        request=table["request"],
        tools=tuple(table["tools"]),
        history=tuple(table.get("history", ())),
        plans=tuple(table.get("plans", ())),
        arguments=dict(table.get("arguments", {})),
        says=tuple(part.lower() for part in table.get("says", ())),
        never_says=tuple(part.lower() for part in table.get("never_says", ())),
        never=frozenset(table.get("never", ())),
        approval=table.get("approval"),
        fleet=_change(name, table["fleet"]) if "fleet" in table else None,
    )


def _change(name: str, table: Mapping[str, Any]) -> FleetChange:
    offline, soc = table.get("offline", []), table.get("soc", {})
    if not isinstance(offline, list) or not isinstance(soc, Mapping):
        raise BenchmarkError(f"case {name}: fleet.offline is no list, or fleet.soc no table")
    if strange := [*(table.keys() - {"mode", "offline", "soc"}), *({*offline, *soc} - set(SITE_IDS))]:
        raise BenchmarkError(f"case {name}: its fleet holds {', '.join(sorted(map(str, strange)))}")
    if not all(isinstance(one, float) and 0.0 <= one <= 1.0 for one in soc.values()):
        raise BenchmarkError(f"case {name}: a state of charge is a share, 0.0 to 1.0")
    if (mode := table.get("mode", "normal")) not in set(OperatingMode):
        raise BenchmarkError(f"case {name}: there is no mode {mode!r}")
    return FleetChange(mode=OperatingMode(mode), offline=frozenset(offline), soc=dict(soc))


def part_of(items: Sequence[_Item], part: str) -> Sequence[_Item]:
    """Return every n-th of them from the k-th on.

    Raises:
        BenchmarkError: It is not `k/n` with 1 <= k <= n.
    """
    number, _, count = part.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BenchmarkError(f"--part {part!r} is not like 1/4")
    return items[int(number) - 1 :: int(count)]
