"""Store pages in the form that the network's patches are cut from, to pass them between processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foliopress.tasks.analysis.tiles import TileGrid

Plane = tuple[np.ndarray, TileGrid]
"""A page at the scoring resolution, from `tasks.analysis.tiles.work_plane`, with its grid."""


def save_planes(path: Path, planes: Sequence[Plane]) -> None:
    """Write planes and grids to an `.npz` file."""
    arrays: dict[str, Any] = {f"plane_{number}": plane for number, (plane, _) in enumerate(planes)}
    arrays["grids"] = np.array([(grid.height_px, grid.width_px, grid.tile_px) for _, grid in planes], np.int64)
    np.savez(path, **arrays)


def load_planes(path: Path) -> list[Plane]:
    """Read the file of `save_planes`."""
    with np.load(path) as stored:
        return [
            (stored[f"plane_{number}"], TileGrid(int(height_px), int(width_px), int(tile_px)))
            for number, (height_px, width_px, tile_px) in enumerate(stored["grids"])
        ]
