"""No figure in a document differs from the results file, and the check itself can fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from ui.bench.readme import block, faults, rewritten
from ui.cli import main

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
SAFETY: dict[str, Any] = {
    "name": "safety",
    "kind": "bench",
    "commit": "abc123",
    "machine": {"cpu": "Some CPU", "cores_count": 2, "memory_gb": 23.5, "python": "3.11.7"},
    "seed": 7,
    "small": False,
    "simulated": True,
    "figures": {"validate_wall_s": 4.2049, "breach_count": 10_000.0, "peak_mb": 812.3},
    "goals": {"validate_wall_s": {"op": "<=", "value": 15.0, "gating": False, "met": True}},
}
SAMPLE = {"results": {"safety": SAFETY, "backtest-price": {"name": "price", "skipped": "needs --data DIR"}}}
EMPTY = "# Title\n\n<!-- figures:safety -->\n<!-- /figures -->\n\nThe end.\n"
FILLED = """\
# Title

<!-- figures:safety -->

| figure | value | goal | met |
|---|---:|---|---|
| `validate_wall_s` | 4.2 | <= 15 | yes |
| `breach_count` | 10,000 | | |
| `peak_mb` | 812 | | |

Simulated, seed 7, commit abc123, 2 cores of Some CPU, 23.5 GB, Python 3.11.7.
<!-- /figures -->

The end.
"""


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_figures_shown_are_those_measured(path: Path) -> None:
    text = path.read_text("utf-8")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"results": {}}
    assert faults(text, results) == []


def test_a_block_is_filled_from_the_results() -> None:
    assert rewritten(EMPTY, SAMPLE) == FILLED
    assert faults(FILLED, SAMPLE) == []
    assert rewritten(FILLED, SAMPLE) == FILLED


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| 4.2 |", "| 3.9 |", "safety: validate_wall_s is shown as | `validate_wall_s` | 3.9 |"),
        ("10,000", "10000", "safety: breach_count is shown as"),
        ("<= 15", "<= 5", "safety: validate_wall_s is shown as"),
        ("| yes |", "| no |", "safety: validate_wall_s is shown as"),
        ("| `peak_mb` | 812 | | |\n", "", "safety: peak_mb is shown as nothing"),
        ("| `peak_mb` |", "| `other_mb` |", "safety: other_mb is shown as"),
        ("Simulated, ", "", "the block's words differ"),
        ("commit abc123", "commit def456", "the block's words differ"),
        ("<!-- /figures -->", "", "the block safety is not closed"),
        ("<!-- figures:safety -->", "<!-- figures: safety -->", "a marker is misspelt"),
        ("<!-- figures:safety -->", "<!-- figures:unknown -->", "the block unknown cannot be filled"),
        (
            "<!-- figures:safety -->",
            "<!-- figures:backtest-price -->",
            "the block backtest-price cannot be filled",
        ),
        ("<!-- figures:safety -->", "<!-- figures:safety other_s -->", "other_s is not in the results"),
    ],
)
def test_a_doctored_document_is_found(old: str, new: str, said: str) -> None:
    assert old in FILLED
    found = faults(FILLED.replace(old, new, 1), SAMPLE)
    assert any(said in each for each in found), found


def test_a_figure_measured_anew_makes_the_document_old() -> None:
    slower = {"results": {"safety": {**SAFETY, "figures": {**SAFETY["figures"], "validate_wall_s": 4.6}}}}
    found = faults(FILLED, slower)
    assert len(found) == 1
    assert "validate_wall_s" in found[0]
    assert "| 4.6 |" in rewritten(FILLED, slower)


def test_a_block_may_choose_its_figures() -> None:
    text = "<!-- figures:safety peak_mb validate_wall_s -->\n<!-- /figures -->"
    rows = [line for line in rewritten(text, SAMPLE).splitlines() if line.startswith("| `")]
    assert rows == ["| `peak_mb` | 812 | | |", "| `validate_wall_s` | 4.2 | <= 15 | yes |"]


def test_a_block_that_cannot_be_filled_stays_as_it_is_and_the_next_is_still_filled() -> None:
    text = "<!-- figures:gone -->\nold\n<!-- /figures -->\n" + EMPTY
    assert rewritten(text, SAMPLE) == "<!-- figures:gone -->\nold\n<!-- /figures -->\n" + FILLED


def test_a_result_on_real_data_is_not_called_simulated() -> None:
    real = {"results": {"safety": {**SAFETY, "simulated": False, "small": True}}}
    assert "On real data, small form, seed 7" in block("safety", (), real)


def test_the_command_writes_the_blocks_and_says_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, document = tmp_path / "results.json", tmp_path / "doc.md"
    results.write_text(json.dumps(SAMPLE))
    document.write_text(EMPTY)
    words = ["bench", "readme", "--json", str(results), "--file", str(document)]
    assert main(words) == 0
    assert document.read_text() == FILLED
    document.write_text(FILLED.replace("figures:safety", "figures:gone"))
    assert main(words) == 1
    assert "the block gone cannot be filled" in capsys.readouterr().err
    results.unlink()
    assert main(words) == 2
