"""Chance: what the drawing leaves to the random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
T = TypeVar("T")


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """Return one of the choices; one that is given twice comes twice as often."""
    return choices[int(rng.integers(len(choices)))]
