"""BM25 worked out by hand on three passages of six words."""

import pytest

from ui.bench.bm25 import Bm25

PASSAGES = {"a": ["pump", "pump", "seal"], "b": ["pump"], "c": ["mast", "lamp"]}


def test_scores_by_hand() -> None:
    ranking = Bm25(PASSAGES)
    # Three passages, one holds "seal": ln(1 + 2.5 / 1.5); two hold "pump": ln(1 + 1.5 / 2.5).
    assert ranking.idf("seal") == pytest.approx(0.980829, abs=1e-6)
    assert ranking.idf("pump") == pytest.approx(0.470004, abs=1e-6)
    # The mean passage has two words; a has three: 1.2 * (0.25 + 0.75 * 1.5) = 1.65, b has one: 0.75.
    assert ranking.score("a", ["seal"]) == pytest.approx(0.980829 * 2.2 / 2.65, abs=1e-6)
    assert ranking.score("a", ["pump"]) == pytest.approx(0.470004 * 4.4 / 3.65, abs=1e-6)
    assert ranking.score("b", ["pump"]) == pytest.approx(0.470004 * 2.2 / 1.75, abs=1e-6)


def test_a_short_passage_comes_before_a_long_one_and_what_holds_no_word_does_not_come() -> None:
    ranking = Bm25(PASSAGES)
    assert ranking.ranked(["pump"]) == ["b", "a"]
    assert ranking.ranked(["pump", "seal"]) == ["a", "b"]
    assert ranking.ranked(["turbine"]) == []
