"""Provide the text of the drawn pages, in paragraphs or short phrases."""

from __future__ import annotations

from foliopress.model.drawn.random_choice import Rng
from foliopress.tasks.samples.texts import sample_text


def prose(rng: Rng, n_letters: float) -> str:
    """Return paragraphs of at least `n_letters` letters."""
    paragraphs = [sample_text(rng, int(rng.integers(2, 7)))]
    while sum(map(len, paragraphs)) < n_letters:
        paragraphs.append(sample_text(rng, int(rng.integers(2, 7))))
    return "\n".join(paragraphs)


def phrase(rng: Rng, n_words: int) -> str:
    """Return a few words from the middle of a sentence."""
    words = sample_text(rng, 2).replace(",", "").replace(".", "").split()
    start = int(rng.integers(0, max(len(words) - n_words, 1)))
    return " ".join(words[start : start + n_words])
