"""An embedder that needs no model: for what does not depend on how good the vectors are."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from knowledge.embed import DIMENSION, Vectors


class WordHash:
    """Each word is one of 384 directions: alike texts share words. Deterministic, and says what it was asked."""

    def __init__(self, model_id: str = "word-hash/384") -> None:
        self.model_id = model_id
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, int.from_bytes(sha256(word.encode()).digest()[:4]) % DIMENSION] += 1.0
        return np.asarray(
            vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32
        )
