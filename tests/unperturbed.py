"""Stand-in for the perturbations of a source, for readers that know a crop by its exact pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from foliopress.tasks.checks import rereading


class Perturbed(np.ndarray):
    """A crop of the source that counts as perturbed, its pixels as they were."""


@contextmanager
def marked_instead_of_perturbed() -> Iterator[None]:
    """Have the check read three marked copies of a crop in place of three perturbed ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rereading, "perturbed", lambda picture: [picture.view(Perturbed)] * 3)
        yield
