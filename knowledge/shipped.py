"""Vectors of the delivered pages, computed once, so that a first start need not wait for them.

Kept by the hash of the text that was embedded: a page that changes finds no vector here and is embedded anew.
`python -m knowledge.shipped` writes the file again after pages were edited.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from knowledge.chunks import embedded_text, passages
from knowledge.corpus_files import corpus_documents
from knowledge.document_store import DocumentStore
from knowledge.embed import DIMENSION, Embedder, MiniLm, Vectors
from knowledge.imports import ImportReport, Progress, import_documents, silent

FILE = Path(__file__).parent / "corpus_vectors.npz"


class ShippedVectors:
    """An embedder that knows the delivered pages by heart and asks the real one for everything else."""

    def __init__(self, inner: Embedder, known: Mapping[str, Vectors]) -> None:
        self._inner = inner
        self._known = known

    @property
    def model_id(self) -> str:
        """See `Embedder`."""
        return self._inner.model_id

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        if not texts:
            return np.empty((0, DIMENSION), np.float32)
        rows = [self._known.get(text_key(text)) for text in texts]
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        fresh = iter(self._inner.embed(missing)) if missing else iter(())
        return np.stack([next(fresh) if row is None else row for row in rows])


def with_shipped_vectors(embedder: Embedder, file: Path = FILE) -> Embedder:
    """Return an embedder that takes the delivered pages' vectors from the file, where the file is of its model."""
    if not file.is_file():
        return embedder
    with np.load(file, allow_pickle=False) as held:
        if str(held["model_id"]) != embedder.model_id:
            return embedder
        vectors = held["vectors"].astype(np.float32)
        known = dict(zip((str(key) for key in held["keys"]), vectors, strict=True))
    return ShippedVectors(embedder, known)


async def import_corpus(
    store: DocumentStore, embedder: Embedder | None, *, at: datetime, progress: Progress = silent
) -> ImportReport:
    """Take the delivered pages into the library, at every start: what is there already costs one query.

    Args:
        store: As for `import_documents`.
        embedder: As chosen; the delivered vectors are used where they are its own.
        at: Aware UTC.
        progress: Told how far it is.
    """
    knowing = None if embedder is None else with_shipped_vectors(embedder)
    return await import_documents(store, corpus_documents(), knowing, at=at, progress=progress)


def text_key(text: str) -> str:
    """Return the key of an embedded text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def corpus_texts() -> tuple[str, ...]:
    """Return what is embedded of the delivered pages, as the store would hand it out."""
    return tuple(
        embedded_text(document.title, (" > ".join(passage.section),) if passage.section else (), passage.text)
        for document in corpus_documents()
        for passage in passages(document)
    )


def write_vectors(embedder: Embedder, file: Path = FILE) -> int:
    """Embed the delivered pages and write the file; return how many passages."""
    texts = corpus_texts()
    keys = np.array([text_key(text) for text in texts])
    # Half precision: a cosine changes by less than 0.001.
    np.savez_compressed(
        file,
        keys=keys,
        vectors=embedder.embed(texts).astype(np.float16),
        model_id=np.array(embedder.model_id),
    )
    return len(texts)


if __name__ == "__main__":
    write_vectors(with_shipped_vectors(MiniLm()))
