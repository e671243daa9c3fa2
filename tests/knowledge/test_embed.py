"""Vectors: the real embedded model, and an endpoint over real HTTP."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from knowledge.embed import (
    DIMENSION,
    Chosen,
    EmbeddingError,
    EndpointEmbedder,
    EndpointSettings,
    MiniLm,
    choose_embedder,
)
from knowledge.shipped import corpus_texts, text_key, with_shipped_vectors, write_vectors
from tests.knowledge.word_hash import WordHash


def test_alike_texts_are_near_and_others_far(mini_lm: MiniLm) -> None:
    dog, puppy, rates = mini_lm.embed(["the dog runs", "a puppy is running", "interest rates rise"])
    assert np.linalg.norm(dog) == pytest.approx(1.0, abs=1e-5)
    # The published model gives about 0.76 and 0.0 for these.
    assert dog @ puppy == pytest.approx(0.763, abs=0.02)
    assert dog @ rates == pytest.approx(0.0, abs=0.05)


def test_a_vector_does_not_depend_on_its_neighbours(mini_lm: MiniLm) -> None:
    alone = mini_lm.embed(["battery"])[0]
    assert np.array_equal(mini_lm.embed(["something much longer than that", "battery"])[1], alone)


def test_words_are_cut_as_the_model_was_trained(mini_lm: MiniLm) -> None:
    # Checked against the tokenizer.json that the model's own SDK ships.
    tokens = mini_lm._tokenizer.encode("Naïve 日本, the rectifier's 4,800Wh").tokens
    assert tokens == [
        *("[CLS]", "naive", "日", "本", ",", "the", "rec", "##ti", "##fi", "##er", "'", "s"),
        *("4", ",", "800", "##w", "##h", "[SEP]"),
    ]


def test_a_text_cannot_smuggle_in_a_special_token(mini_lm: MiniLm) -> None:
    ids = mini_lm._tokenizer.encode("[SEP] [CLS]").ids
    assert (ids.count(101), ids.count(102)) == (1, 1)


def test_a_long_text_is_cut_and_nothing_is_nothing(mini_lm: MiniLm) -> None:
    assert len(mini_lm._tokenizer.encode("word " * 1000).ids) == 256
    assert mini_lm.embed([]).shape == (0, DIMENSION)


def test_the_shipped_vectors_are_those_of_the_delivered_pages(mini_lm: MiniLm) -> None:
    texts = corpus_texts()
    asked = WordHash(mini_lm.model_id)
    shipped = with_shipped_vectors(asked).embed(texts)
    assert asked.asked == []  # run `python -m knowledge.shipped` after an edit of the corpus
    some = [0, len(texts) // 2, len(texts) - 1]
    assert np.abs(shipped[some] - mini_lm.embed([texts[n] for n in some])).max() < 0.001


def test_shipped_vectors_of_another_model_are_not_taken(tmp_path: Any) -> None:
    file = tmp_path / "v.npz"
    assert write_vectors(WordHash("one/384"), file) == len(corpus_texts())
    other = WordHash("other/384")
    assert with_shipped_vectors(other, file) is other
    mine = WordHash("one/384")
    mixed = with_shipped_vectors(mine, file).embed([corpus_texts()[0], "new"])
    assert mine.asked == ["new"]
    assert np.abs(mixed - WordHash().embed([corpus_texts()[0], "new"])).max() < 0.001
    assert text_key("a") == "ca978112ca1bbdcafac231b3"


@contextmanager
def endpoint(answer: Any, status: int = 200) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """A real HTTP server that answers each request by a function of its body."""
    asked: list[Mapping[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            content = json.dumps(answer(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rows(body: Mapping[str, Any], size: int = DIMENSION) -> dict[str, Any]:
    # Out of order, as a server may; the first number tells which text it was.
    found = [
        {"index": n, "embedding": [float(len(text)), *([0.0] * (size - 1))]}
        for n, text in enumerate(body["input"])
    ]
    return {"data": found[::-1]}


def asker(url: str, **more: Any) -> EndpointEmbedder:
    return EndpointEmbedder(EndpointSettings(base_url=url, model="m", **more))


def test_an_endpoint_is_asked_in_batches_and_its_answers_are_put_in_order() -> None:
    def answer(body: Mapping[str, Any]) -> dict[str, Any]:
        found = rows(body)
        for row in found["data"]:
            row["embedding"][1] = 1.0
        return found

    with endpoint(answer) as (url, asked):
        embedder = asker(url, api_key="k", batch=2)
        vectors = embedder.embed(["a", "bbb", "cc"])
        embedder.close()
    # (3, 1) of length one is (0.9487, 0.3162).
    assert vectors[1, :2] == pytest.approx([0.9487, 0.3162], abs=1e-4)
    assert [each["input"] for each in asked] == [["a", "bbb"], ["cc"]]
    assert (asked[0]["path"], asked[0]["key"], asked[0]["dimensions"]) == ("/v1/embeddings", "Bearer k", 384)
    assert embedder.model_id == "m/384"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda body: rows(body, 1024), 200, "take a model whose vectors can be shortened"),
        (lambda _: {"data": []}, 200, "answered something else"),
        (lambda _: {"error": "no"}, 200, "answered something else"),
        (lambda _: [1], 200, "answered something else"),
        (rows, 429, "cannot be asked"),
        (lambda body: {"data": [{"index": 0, "embedding": [float("nan")] * DIMENSION}]}, 200, "no number"),
    ],
)
def test_an_endpoint_that_answers_something_else_is_an_error(answer: Any, status: int, said: str) -> None:
    with endpoint(answer, status) as (url, _):
        embedder = asker(url)
        with pytest.raises(EmbeddingError, match=said):
            embedder.embed(["a"])
        embedder.close()


def test_settings_choose_the_endpoint_and_half_of_them_is_said() -> None:
    env = {"EMBEDDINGS_BASE_URL": "http://127.0.0.1:9/v1", "EMBEDDINGS_MODEL": "m"}
    chosen = choose_embedder(env)
    assert isinstance(chosen.embedder, EndpointEmbedder)
    chosen.embedder.close()
    missing = choose_embedder({"EMBEDDINGS_MODEL": "m"})
    assert missing == Chosen(
        embedder=None,
        note="searching by words alone: EMBEDDINGS_BASE_URL and EMBEDDINGS_MODEL go together: one of them is missing",
    )
