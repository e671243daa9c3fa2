"""The pages that come with the product."""

from pathlib import Path

from knowledge.documents import Document, read_markdown

CORPUS = Path(__file__).parent / "corpus"


def corpus_documents(folder: Path = CORPUS) -> tuple[Document, ...]:
    """Return the delivered pages in order of name; a page's name is its id.

    Raises:
        DocumentError: A page cannot be read.
    """
    return tuple(read_markdown(path.read_text("utf-8"), path.stem) for path in sorted(folder.glob("*.md")))
