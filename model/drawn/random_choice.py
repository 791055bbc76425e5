"""Draw random choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
T = TypeVar("T")


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """Return one of the choices at random; a choice listed twice is twice as likely."""
    return choices[int(rng.integers(len(choices)))]
