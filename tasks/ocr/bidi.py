"""Convert words of right-to-left scripts from reading order to visual order."""

from __future__ import annotations

import unicodedata
from itertools import groupby
from operator import itemgetter

_LEFT_TO_RIGHT = ("L", "EN", "AN")
_RIGHT_TO_LEFT = ("R", "AL")
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


def is_right_to_left(text: str) -> bool:
    """Return whether any character belongs to a right-to-left script, such as Hebrew or Arabic."""
    return any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)


def in_visual_order(text: str) -> str:
    """Return a word's characters in visual order, from left to right, given the word in reading order.

    Numbers and Latin letters keep their order within the word, and brackets are mirrored among right-to-left letters:
    the Unicode bidirectional algorithm (UAX #9, W1, N1, N2, L2, L4) for one word without embeddings. Numbers are
    treated like Latin letters, which differs from it only for words that mix both with Hebrew or Arabic.
    """
    if not is_right_to_left(text):
        return text
    directions = _directions(text)
    runs = [
        (from_right, "".join(character for _, character in run))
        for from_right, run in groupby(zip(directions, text, strict=True), key=itemgetter(0))
    ]
    shown = [run[::-1].translate(_MIRRORED) if from_right else run for from_right, run in runs]
    return "".join(shown[::-1] if _leads_from_right(text) else shown)


def _leads_from_right(text: str) -> bool:
    """Return whether the word as a whole runs from right to left, by its first letter (UAX #9, P2); ignore numbers."""
    return next(
        (kind in _RIGHT_TO_LEFT for kind in map(unicodedata.bidirectional, text) if kind in ("L", *_RIGHT_TO_LEFT)),
        False,
    )


def _directions(text: str) -> list[bool]:
    """Return for each character whether it runs from right to left; neutral ones follow equal neighbours."""
    strong: list[bool | None] = []
    for kind in map(unicodedata.bidirectional, text):
        known = kind in _RIGHT_TO_LEFT if kind in (*_LEFT_TO_RIGHT, *_RIGHT_TO_LEFT) else None
        strong.append(strong[-1] if kind == "NSM" and strong else known)
    whole = _leads_from_right(text)
    directions: list[bool] = []
    for place, known in enumerate(strong):
        if known is None:
            before = directions[-1] if directions else whole
            after = next((later for later in strong[place:] if later is not None), whole)
            known = before if before == after else whole
        directions.append(known)
    return directions
