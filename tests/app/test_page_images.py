"""Test that the browser gets the page's own pixels."""

import cv2
import numpy as np
import pytest

from foliopress.app.page_images import PREVIEW_PX, TILE_PX, picture_of
from foliopress.tasks.images.image_reader import Page


def page_of(pixels, is_bitonal=False):
    return Page(pixels, is_bitonal, 300.0, None, None)


def decoded(data):
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def put_together(picture):
    rows = [picture.tiles[start : start + picture.n_cols] for start in range(0, len(picture.tiles), picture.n_cols)]
    return np.concatenate([np.concatenate([decoded(tile) for tile in row], axis=1) for row in rows])


@pytest.mark.parametrize("shape", [(2500, 1700), (1025, 2049, 3)])
def test_tiles_put_together_are_the_page(shape):
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8), (0, 0), 8)
    picture = picture_of(page_of(smooth))
    found = put_together(picture)
    assert found.shape == shape
    assert np.abs(found.astype(int) - smooth).max() <= 6  # JPEG at 95
    assert max(decoded(picture.preview).shape[:2]) == PREVIEW_PX
    assert (picture.height_px, picture.width_px) == shape[:2]


def test_a_page_of_one_bit_stays_exact():
    pixels = np.where(np.random.default_rng(0).random((1700, TILE_PX + 1)) < 0.5, 0, 255).astype(np.uint8)
    picture = picture_of(page_of(pixels, is_bitonal=True))
    assert picture.mimetype == "image/png"
    assert np.array_equal(put_together(picture), pixels)


def test_a_small_page_needs_no_tiles():
    picture = picture_of(page_of(np.zeros((300, 200), np.uint8)))
    assert picture.tiles == ()
    assert decoded(picture.preview).shape == (300, 200)
