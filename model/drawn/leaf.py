"""Hold a drawn sheet on its way through ageing, mounting and scanning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foliopress.tasks.samples.lettering import Mask
from foliopress.tasks.samples.paper import Colour, Light


@dataclass(frozen=True, eq=False)
class Leaf:
    """A sheet before scanning; `light` as in `Sheet`, `ink` as in `TracedSheet`, both of one size.

    backing: Colour around the sheet and behind its holes.
    """

    light: Light
    ink: Mask
    dpi: float
    backing: Colour

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.light.shape[0], self.light.shape[1]

    def changed(self, light: npt.NDArray[np.floating], ink: Mask | None = None) -> Leaf:
        """Return the leaf with new light, and with new ink if given."""
        return replace(self, light=np.asarray(light, np.float32), ink=self.ink if ink is None else ink)
