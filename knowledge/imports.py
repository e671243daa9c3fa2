"""Documents into the library: what is new or changed is cut, kept, and embedded; the rest is passed over."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from knowledge.chunks import passages
from knowledge.document_store import DocumentStore
from knowledge.documents import Document, DocumentError
from knowledge.embed import Embedder
from knowledge.files import find_files, read_file

_AT_ONCE = 16  # texts embedded between two looks at the progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far an import is: `done` of `total` documents, or passages while embedding."""

    stage: str  # "reading", "keeping", "embedding"
    done: int
    total: int


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        added: Ids of new documents.
        replaced: Ids of documents that had changed.
        unchanged: Ids of documents that were there already, by the hash of their content.
        twins: Ids of documents left out because another one has the same text.
        failed: File and reason; the others were taken in all the same.
        passages: Passages kept.
        embedded: Passages embedded now, those of a former model among them.
    """

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    passages: int = 0
    embedded: int = 0


def silent(_: Step) -> None:
    """Say nothing."""


def read_documents(path: Path, progress: Progress = silent) -> tuple[list[Document], list[tuple[str, str]]]:
    """Return the documents of a file or folder, and what could not be read, with the reason."""
    files = find_files(path)
    base = path if path.is_dir() else path.parent
    documents: list[Document] = []
    failed: list[tuple[str, str]] = []
    for done, file in enumerate(files, start=1):
        name = file.relative_to(base).as_posix()
        try:
            documents.append(read_file(file, name))
        except DocumentError as error:
            failed.append((name, str(error)))
        progress(Step(stage="reading", done=done, total=len(files)))
    return documents, failed


async def import_documents(
    store: DocumentStore,
    documents: Iterable[Document],
    embedder: Embedder | None,
    *,
    at: datetime,
    progress: Progress = silent,
) -> ImportReport:
    """Take documents into the library; may be repeated.

    Args:
        store: Opened with a role that may write documents (API, loop or owner).
        documents: Later ones with the id of an earlier one replace it.
        embedder: None: they are found by words alone until somebody embeds them.
        at: Aware UTC, recorded as the time of import.
        progress: Told after each document and each batch of passages.
    """
    known = await store.hashes()
    by_text = {text_hash: document_id for document_id, text_hash in (await store.text_hashes()).items()}
    wanted = list({document.document_id: document for document in documents}.values())
    added: list[str] = []
    replaced: list[str] = []
    unchanged: list[str] = []
    twins: list[str] = []
    kept = 0
    for done, document in enumerate(wanted, start=1):
        document_id = document.document_id
        twin = by_text.setdefault(document.text_hash, document_id)
        if known.get(document_id) == document.content_hash:
            unchanged.append(document_id)
        elif document_id not in known and twin != document_id:
            twins.append(document_id)
        else:
            parts = passages(document)
            await store.keep(document, parts, at=at)
            kept += len(parts)
            (replaced if document_id in known else added).append(document_id)
        progress(Step(stage="keeping", done=done, total=len(wanted)))
    if kept:
        await store.count_words()
    embedded = 0 if embedder is None else await embed_missing(store, embedder, progress)
    return ImportReport(
        added=tuple(added),
        replaced=tuple(replaced),
        unchanged=tuple(unchanged),
        twins=tuple(twins),
        passages=kept,
        embedded=embedded,
    )


async def embed_missing(store: DocumentStore, embedder: Embedder, progress: Progress = silent) -> int:
    """Embed every passage that lacks a vector of this model, so also all of them after a change of model.

    Returns how many. An interrupted run is taken up where it stopped: each batch is kept at once.

    Raises:
        EmbeddingError: The model failed; what was embedded before stays.
    """
    total = await store.count_without_vector(embedder.model_id)
    done = 0
    while todo := await store.without_vector(embedder.model_id, _AT_ONCE * 8):
        for first in range(0, len(todo), _AT_ONCE):
            batch = todo[first : first + _AT_ONCE]
            done += await _embed(store, embedder, batch)
            progress(Step(stage="embedding", done=done, total=max(total, done)))
    return done


async def _embed(store: DocumentStore, embedder: Embedder, batch: Sequence[tuple[str, str]]) -> int:
    vectors = await asyncio.to_thread(embedder.embed, [text for _, text in batch])
    await store.keep_vectors([passage_id for passage_id, _ in batch], vectors, embedder.model_id)
    return len(batch)
