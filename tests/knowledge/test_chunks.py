"""Documents cut into passages."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.chunks import MOST_WORDS, embedded_text, passages
from knowledge.documents import Document, DocumentKind

TABLE = "| a | b |\n| --- | --- |\n" + "\n".join(f"| row {n} | {'word ' * 20}|" for n in range(20))
PAGE = Document(document_id="page", title="Page", kind=DocumentKind.NOTE, text="# Page\n\nOne two three.")


def words(count: int, word: str = "word") -> str:
    return " ".join([word] * count)


def page(text: str) -> Document:
    return replace(PAGE, text=text)


def test_a_short_page_is_one_passage_without_its_title() -> None:
    [only] = passages(PAGE)
    assert (only.text, only.section, only.start, only.end, only.number) == ("One two three.", (), 8, 22, 0)


def test_a_new_section_begins_a_passage_once_the_one_before_has_eighty_words() -> None:
    text = f"{words(79)}\n\n## Second\n\n{words(80)}\n\n## Third\n\n{words(80)}"
    found = passages(page(text))
    # 79 words are too few to stand alone, so the second section joins them; the third begins anew.
    assert [each.section for each in found] == [(), ("Third",)]
    assert [len(each.text.split()) for each in found] == [79 + 2 + 80, 2 + 80]
    assert found[1].text.startswith("## Third")


def test_sections_nest_and_end() -> None:
    text = f"## A\n\n### A1\n\n{words(90)}\n\n## B\n\n{words(90)}"
    assert [each.section for each in passages(page(text))] == [("A", "A1"), ("B",)]


def test_a_table_is_never_cut_though_it_is_longer_than_a_passage() -> None:
    found = passages(page(f"{words(100)}\n\n{TABLE}\n\n{words(100)}"))
    assert len(TABLE.split()) > MOST_WORDS
    assert [TABLE in each.text for each in found].count(True) == 1


def test_a_fenced_block_keeps_its_empty_lines_and_what_looks_like_a_heading() -> None:
    fence = "```\n# not a heading\n\nmore\n```"
    [only] = passages(page(f"before\n\n{fence}"))
    assert only.text == f"before\n\n{fence}"


def test_long_prose_is_cut_at_the_ends_of_sentences() -> None:
    sentence = f"Start {words(58)} end."
    found = passages(page(" ".join([sentence] * 10)))
    assert all(each.text.startswith("Start") and each.text.endswith("end.") for each in found)
    assert sum(len(each.text.split()) for each in found) == 600
    assert max(len(each.text.split()) for each in found) <= MOST_WORDS


def test_a_passage_keeps_its_id_when_the_page_around_it_changes() -> None:
    before = passages(page(f"## A\n\n{words(90, 'alpha')}\n\n## B\n\n{words(90, 'beta')}"))
    after = passages(page(f"## New\n\n{words(90, 'gamma')}\n\n## B\n\n{words(90, 'beta')}"))
    assert before[1].passage_id == after[1].passage_id
    assert before[0].passage_id != after[0].passage_id


def test_the_same_text_twice_has_two_ids() -> None:
    text = f"## A\n\n{words(90)}\n\n## B\n\n{words(90)}\n\n## A\n\n{words(90)}"
    assert len({each.passage_id for each in passages(page(text))}) == 3


def test_another_title_is_another_passage() -> None:
    assert passages(PAGE)[0].passage_id != passages(replace(PAGE, title="Other"))[0].passage_id


def test_what_is_embedded_says_the_title_and_leaves_marks_out() -> None:
    text = "| a | b |\n| --- | --- |\n| **1** | `2` |"
    assert embedded_text("T", ("S", "U"), text) == "T\nS > U\n a  b \n 1  2 "


@given(
    st.lists(
        st.sampled_from(
            [
                "# Page",
                "## H",
                "### H2",
                words(7),
                f"{words(30)}. {words(70).capitalize()}.",
                "- a\n- b",
                TABLE,
            ]
        ),
        max_size=14,
    )
)
@pytest.mark.filterwarnings("default")
def test_passages_are_stretches_in_order_and_lose_no_word(parts: list[str]) -> None:
    document = page("\n\n".join(parts))
    found = passages(document)
    assert [each.text for each in found] == [document.text[each.start : each.end] for each in found]
    assert all(one.end <= other.start for one, other in pairwise(found))
    kept = sum(each.text.split().count("word") for each in found)
    assert kept == document.text.split().count("word")
