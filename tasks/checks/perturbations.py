"""Perturb an image in ways that nobody can see, to learn which of its readings are more than chance."""

from __future__ import annotations

import cv2
import numpy as np

_NOISE_SEED = 1
_JPEG_QUALITY = 97
_SHIFT_PX = 0.5


def perturbed(picture: np.ndarray) -> list[np.ndarray]:
    """Return three copies of a grey image: shifted by half a pixel, with noise of one grey level, through a codec.

    Args:
        picture: (height, width) uint8.

    Returns:
        Images of the same shape and dtype; the same for the same picture.
    """
    shift = np.array([[1, 0, _SHIFT_PX], [0, 1, _SHIFT_PX]], np.float32)
    height_px, width_px = picture.shape
    size = width_px, height_px
    shifted = cv2.warpAffine(picture, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.default_rng(_NOISE_SEED).integers(-1, 2, picture.shape)
    noisy = np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return [shifted, noisy, cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)]
