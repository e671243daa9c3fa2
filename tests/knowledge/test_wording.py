"""Questions put into the library's words; how rankings are weighed and joined."""

from math import log

import pytest

from knowledge.findings import Weights, fuse, spread
from knowledge.rarity import Word, looked_up_by, rarity, term_of, weighed
from knowledge.wording import Glossary, Phrasing, distance, exact_names, mended, read_phrasing, unknown_words

KNOWN = frozenset({"the", "battery", "stop", "charge", "tap", "all", "sites"})


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        ("stop", "stop", 0),
        ("stpo", "stop", 1),
        ("batery", "battery", 1),
        ("rectifer", "rectifier", 1),
        ("abc", "", 3),
    ],
)
def test_distance_counts_a_swap_once(one: str, other: str, steps: int) -> None:
    assert distance(one, other) == distance(other, one) == steps


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("the batery", ("batery",)),
        ("tapped the batteries charges charging", ("batteries",)),  # a plural in -ies is no plain ending
        ("S17 c_rate 4800 the", ()),
        ("the wat", ()),  # of three letters everything is a neighbour
        ("Wie lange muss eine Station laufen", ()),  # another language is left alone
    ],
)
def test_only_words_that_may_be_misspelt_are_looked_up(query: str, unknown: tuple[str, ...]) -> None:
    assert unknown_words(query, KNOWN) == unknown


def test_a_misspelt_word_becomes_the_nearest_one_of_the_library() -> None:
    alike = {"batery": [("buttery", 9), ("battery", 3)], "stpo": [("step", 9), ("stop", 1)]}
    assert mended("Batery: stpo", alike) == "battery: stop"


@pytest.mark.parametrize(
    ("word", "alike"),
    [("amps", ("ramps", 9)), ("masts", ("fasts", 9)), ("tampered", ("batteries", 9)), ("soc", ("sock", 9))],
)
def test_a_word_that_is_only_somewhat_near_stays(word: str, alike: tuple[str, int]) -> None:
    assert mended(word, {word: [alike]}) == word


def test_the_glossary_adds_the_fields_words_and_keeps_the_question() -> None:
    phrasing = Phrasing(
        glossary=Glossary(entries={"power cut": "mains failure", "cut": "wrong"}), known=KNOWN
    )
    worded = phrasing.worded("Power-cut? a power cut!", {})
    assert worded.added == ("mains failure", "wrong")
    assert worded.whole == "Power-cut? a power cut! (mains failure, wrong)"


def test_the_delivered_glossary_knows_diesel_and_does_not_mend_its_own_words() -> None:
    phrasing = read_phrasing()
    assert phrasing.worded("the diesel is empty", {}).added == ("genset",)
    assert phrasing.doubtful("aircon hvac lifepo4") == ()


def test_as_asked_changes_nothing() -> None:
    phrasing = Phrasing.as_asked()
    assert phrasing.doubtful("the jenerator") == ()
    assert phrasing.worded("the diesel", {}).whole == "the diesel"


def test_names_in_quotes_and_with_an_underscore_are_found_as_they_are() -> None:
    assert exact_names('why c_rate_by_temperature and "local lock" or too_late') == (
        "c_rate_by_temperature",
        "local lock",
        "too_late",
    )


def test_a_word_in_few_passages_weighs_more() -> None:
    # N = 10: in one passage ln(1 + 9.5/1.5), in all ten ln(1 + 0.5/10.5).
    assert rarity(1, 10) == pytest.approx(log(1 + 9.5 / 1.5))
    assert weighed([("common", 10, 1.0), ("rare", 1, 0.5)], 10) == (
        Word(word="rare", passages=1, weight=0.5 * log(1 + 9.5 / 1.5)),
        Word(word="common", passages=10, weight=log(1 + 0.5 / 10.5)),
    )


def test_passages_are_looked_up_by_the_rarest_words_then_by_several_at_once() -> None:
    words = weighed([("a", 5, 1.0), ("b", 7, 1.0), ("c", 100, 1.0), ("d", 200, 1.0)], 1000)
    assert looked_up_by(words, 1000, 1000) == ("'a'", "'b'", "'c'", "'d'")  # a small library: every word
    # 5 + 7 leave no room for the 20 that hold c and d (100 x 200 / 1000).
    assert looked_up_by(words, 1000, 31) == ("'a'", "'b'")
    assert looked_up_by(words, 1000, 32) == ("'a'", "'b'", "('c' & 'd')")
    # 5 leave 4: of those, 0.7 hold b and c, 1.4 hold b and d, 0.14 all three; not the 20 that hold c and d.
    assert looked_up_by(words, 1000, 9) == ("'a'", "('b' & 'c')", "('b' & 'd')", "('b' & 'c' & 'd')")


def test_where_every_word_is_frequent_passages_hold_several_of_them() -> None:
    words = weighed([("a", 500, 1.0), ("b", 600, 1.0), ("c", 800, 1.0)], 1000)
    assert looked_up_by(words, 1000, 10) == ("('a' & 'b' & 'c')",)
    assert looked_up_by(words[:1], 1000, 10) == ("('a')",)
    assert looked_up_by((), 1000, 10) == ()


def test_a_term_cannot_become_an_operator() -> None:
    assert term_of("it's") == "'it''s'"
    assert term_of("a\\b | c") == "'a\\\\b | c'"


def test_fusion_adds_each_score_as_a_share_of_the_best() -> None:
    weights = Weights(vectors=2.0, words=1.0)
    # a: 2 x 0.8/0.8; b: 2 x 0.4/0.8 + 1 x 3/3; c: 1 x 1.5/3.
    assert fuse({"a": 0.8, "b": 0.4}, {"b": 3.0, "c": 1.5}, weights) == (("a", 2.0), ("b", 2.0), ("c", 0.5))


def test_fusion_of_nothing_is_nothing_and_a_negative_likeness_counts_nothing() -> None:
    assert fuse({}, {}, Weights()) == ()
    assert fuse({"a": 0.5, "b": -0.5}, {}, Weights(vectors=1.0)) == (("a", 1.0), ("b", 0.0))


def test_one_document_does_not_take_every_place() -> None:
    documents = {"p1": "x", "p2": "x", "p3": "y"}
    assert spread(["p1", "p2", "p3"], documents, limit=2, per_document=1) == ("p1", "p3")
    assert spread(["p1", "p2", "p3"], documents, limit=2, per_document=2) == ("p1", "p2")
