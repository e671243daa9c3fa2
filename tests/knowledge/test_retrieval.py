"""How well questions find their page: the hybrid beside BM25, words and vectors alone, as asked, in the same run."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from knowledge.corpus_files import corpus_documents
from knowledge.documents import ReaderRole
from knowledge.findings import Method, Scope
from knowledge.passage_store import PassageStore
from knowledge.questions import Question, QuestionError, Score, read_questions, score
from knowledge.wording import Phrasing
from tests.knowledge.conftest import Library, Pool
from ui.bench.bm25_store import found_by_bm25

HERE = Path(__file__).parent
SETS = (HERE / "questions.toml", HERE / "questions_held_out.toml")
VIEWER = Scope(role=ReaderRole.VIEWER)


async def found_by(
    store: PassageStore, questions: Sequence[Question], method: Method
) -> dict[str, Sequence[str]]:
    answers = {each.ask: await store.search(each.ask, VIEWER, limit=3, method=method) for each in questions}
    assert {answer.method for answer in answers.values()} == {method}
    return {ask: [one.document_id for one in answer.found] for ask, answer in answers.items()}


async def test_questions_find_their_page(
    library: Library, library_pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [question for file in SETS for question in read_questions(file)]
    hybrid = PassageStore(library_pool, library.embedder)
    plain = PassageStore(library_pool, library.embedder, phrasing=Phrasing.as_asked())
    scores = {
        "hybrid": score(questions, await found_by(hybrid, questions, Method.HYBRID)),
        "BM25 alone, as asked": score(questions, await found_by_bm25(library_pool, questions)),
        "words alone, as asked": score(questions, await found_by(plain, questions, Method.WORDS)),
        "vectors alone, as asked": score(questions, await found_by(plain, questions, Method.VECTORS)),
    }
    with capsys.disabled():
        for name, one in scores.items():
            line = f"\n{name:<24} hit@1 {one.hit_at_1:.3f}  hit@3 {one.hit_at_3:.3f}  of {one.questions}"
            sys.stdout.write(line)
    best = scores.pop("hybrid")
    assert best.questions == 140
    assert best.hit_at_1 >= 0.80
    assert best.hit_at_3 >= 0.95
    assert all(best.hit_at_1 > one.hit_at_1 + 0.1 for one in scores.values())
    assert all(best.hit_at_3 > one.hit_at_3 for one in scores.values())
    # A yardstick that finds nothing would be no yardstick.
    assert scores["BM25 alone, as asked"].hit_at_1 >= 0.5


def test_every_question_names_pages_that_exist_and_none_is_asked_twice() -> None:
    pages = {document.document_id for document in corpus_documents()}
    questions = [question for file in SETS for question in read_questions(file)]
    assert {name for question in questions for name in question.documents} <= pages
    assert len({question.ask for question in questions}) == len(questions) >= 60
    assert {question.style for question in questions} == {
        "paraphrase",
        "typo",
        "distractor",
        "german",
        "italian",
    }


def test_a_score_counts_first_places_and_first_threes() -> None:
    questions = [Question(ask=str(n), style="paraphrase", documents=("a", "b")) for n in range(4)]
    found = {"0": ["b"], "1": ["x", "y", "a"], "2": ["x", "y", "z", "a"], "3": []}
    assert score(questions, found) == Score(questions=4, hit_at_1=0.25, hit_at_3=0.5)


def test_a_file_of_questions_that_names_no_document_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_text('[[question]]\nask = "a"\nstyle = "typo"\ndocuments = []\n')
    with pytest.raises(QuestionError, match="names no document"):
        read_questions(file)
    file.write_text('[[question]]\nask = "a"\n')
    with pytest.raises(QuestionError, match="style"):
        read_questions(file)
