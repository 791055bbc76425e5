"""Encode JPEG for scans: a luma table for strokes, rate-distortion thresholds, and deringing of clipped white.

mozjpeg has trellis quantisation and deringing, but no installable package offers it: imagecodecs 2026.3.6 has only a
stub.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from foliopress.tasks.codecs.jpeg_entropy import ZIGZAG, Process, write_jpeg

# Savings of the choices below, measured on 10 crops of 1 to 2 megapixels (print, typing, receipts, two-tone) at equal
# SSIM of strokes (0.93 to 0.97), after rescaling: libjpeg's encoder needs 25 % more bytes; ours with libjpeg's luma
# table 12 % more, without deringing 10 % (on receipts 1 to 20 %, on a two-tone page 80 %), without rate-distortion
# thresholds 2 %. The best path through each block (trellis) was no better than thresholds; a weight for blocks of
# strokes saves another 2 %.

# The standard's example tables (ITU-T T.81, Annex K) are made for photographs.
_ANNEX_K_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float64,
)
_ANNEX_K_CHROMA = np.full((8, 8), 99.0)
_ANNEX_K_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_FLATNESS = 0.75  # strokes need high frequencies as much as low ones
_MEAN_STEP = 10  # step of a block's mean at quality 50: 1.25 grey levels, so that smooth paper shows no blocks

_BIT_WORTH = 0.04
"""Squared error, in mean squared steps of the luma table, that a saved bit may cost."""
_SAMPLED_BLOCKS = 20_000  # for the statistics of a page

_WHITE, _BLACK = 250, 5
"""Grey levels beyond which a viewer's clipping hides ringing."""
_DERINGING_ROUNDS = 2
_DERINGING_GAIN = 1.5  # each round targets more overshoot than the last one had
_MOST_OVERSHOOT = 64  # grey levels; libjpeg inverts values that are 384 off

_LARGEST = 1023  # largest coefficient of an image of 8 bits (T.81, F.1.2.2)
_STRIP_BLOCKS = 1 << 16  # processed at once, to bound memory: 4 megapixels


def _basis() -> np.ndarray:
    """Return (64, 64) float32: row k is the pixel pattern of zigzag coefficient k (T.81, A.3.3), of length 1."""
    place, frequency = np.arange(8), np.arange(8)[:, np.newaxis]
    rows = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.where(frequency == 0, np.sqrt(1 / 8), 0.5)
    basis: np.ndarray = np.kron(rows, rows)[ZIGZAG].astype(np.float32)
    return basis


_BASIS = _basis()


def encode_jpeg(
    pixels: np.ndarray, quality: int, options: Mapping[str, object] | None = None, process: Process = "smaller"
) -> bytes:
    """Return a page as a JPEG, chroma at half size in both directions.

    At equal SSIM of strokes it is smaller than libjpeg's output: the luma table is flatter; small coefficients become
    zero if that saves more bits than the error is worth; white and black pixels may decode beyond 255 and 0, which
    every viewer clips; and `write_jpeg` encodes the scans.

    Args:
        pixels: uint8 (height, width) grey or (height, width, 3) RGB.
        quality: 1 to 100, on libjpeg's scale.
        options: Pillow's options for metadata: `dpi`, `icc_profile`, `exif`, `xmp`, `comment`.
        process: See `write_jpeg`.

    Raises:
        ValueError: If a side is longer than the format allows, or Pillow cannot write the metadata.
    """
    tables = quantisation_tables(quality)[: 1 if pixels.ndim == 2 else 2]
    luma, *chroma = _planes(pixels)
    components = [_quantised_luma(luma, _clipping(pixels), tables[0])]
    components += [_quantised_chroma(plane, tables[1]) for plane in chroma]
    segments = _segments(tables, options or {})
    height_px, width_px = pixels.shape[:2]
    return write_jpeg(segments, components, height_px, width_px, process)


def quantisation_tables(quality: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (8, 8) int64 steps of luma and chroma coefficients, each 1 to 255.

    The luma table is Annex K's, moved three quarters of the way (in logarithms) towards one step for all frequencies.
    Both scale with the quality as libjpeg's do (jcparam.c, `jpeg_quality_scaling`).

    >>> quantisation_tables(50)[0][0].tolist()
    [10, 22, 22, 25, 27, 31, 33, 35]
    """
    logs = np.log(_ANNEX_K_LUMA)
    luma = np.exp(logs * (1 - _FLATNESS) + logs[:6, :6].mean() * _FLATNESS)
    chroma = _ANNEX_K_CHROMA.copy()
    luma[0, 0] = chroma[0, 0] = _MEAN_STEP
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    steps = [np.clip(np.round(table * percent / 100), 1, 255).astype(np.int64) for table in (luma, chroma)]
    return steps[0], steps[1]


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Return uint8 luma, and Cb and Cr at half size (JFIF), padded to whole blocks by repeating the edges."""
    if pixels.ndim == 2:
        return [_drawn_out(pixels)]
    luma, red, blue = cv2.split(cv2.cvtColor(_drawn_out(pixels), cv2.COLOR_RGB2YCrCb))
    size = luma.shape[1] // 2, luma.shape[0] // 2
    return [luma, *(cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (blue, red))]


def _drawn_out(pixels: np.ndarray) -> np.ndarray:
    unit_px = 8 if pixels.ndim == 2 else 16
    bottom, right = -pixels.shape[0] % unit_px, -pixels.shape[1] % unit_px
    drawn: np.ndarray = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return drawn


def _clipping(pixels: np.ndarray) -> np.ndarray:
    """Return int8, of the luma plane's shape: 1 where a pixel may decode brighter, -1 where darker, 0 elsewhere."""
    drawn = _drawn_out(pixels)
    n_channels = 1 if drawn.ndim == 2 else 3
    brighter = cv2.inRange(drawn, (_WHITE,) * n_channels, (255,) * n_channels)
    darker = cv2.inRange(drawn, (0,) * n_channels, (_BLACK,) * n_channels)
    return np.asarray((brighter > 0).astype(np.int8) - (darker > 0).astype(np.int8))


def _quantised_luma(luma: np.ndarray, clipping: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return (n_block_rows, n_block_cols, 64) int16, rounded by rate-distortion thresholds and deringed."""
    steps = table.ravel()[ZIGZAG].astype(np.float32)
    shape = luma.shape[0] // 8, luma.shape[1] // 8, 64
    result = np.empty(shape, np.int16)
    thresholds = _thresholds(luma, steps)
    rows = max(1, _STRIP_BLOCKS // shape[1])
    for top in range(0, shape[0], rows):
        strip = np.s_[top * 8 : (top + rows) * 8]
        blocks = _centred(_blocks(luma[strip]))
        quantised = _rd_threshold(blocks @ (_BASIS.T / steps), *thresholds)
        _dering(quantised, blocks, _blocks(clipping[strip]), steps, thresholds)
        result[top : top + rows] = quantised.reshape(-1, *shape[1:])
    return result


def _dering(
    quantised: np.ndarray,
    blocks: np.ndarray,
    clipping: np.ndarray,
    steps: np.ndarray,
    thresholds: tuple[np.ndarray, np.ndarray],
) -> None:
    """Requantise blocks of strokes on clipped white or black, in place.

    Overshoot of such a pixel is no error: it becomes the target, with a little more.

    Args:
        quantised: (n, 64) int16 coefficients.
        blocks: (n, 64) float32 pixels less 128.
        clipping: (n, 64) from `_clipping`.
        steps: (64,) zigzag quantisation steps.
        thresholds: From `_thresholds`.
    """
    chosen = np.nonzero(quantised[:, 1:].any(axis=1) & clipping.any(axis=1))[0]
    wanted, direction = blocks[chosen], clipping[chosen]
    coefficients = quantised[chosen]
    for _ in range(_DERINGING_ROUNDS):
        beyond = np.maximum(((coefficients * steps) @ _BASIS - wanted) * direction, 0.0)
        aim = wanted + direction * np.minimum(_DERINGING_GAIN * beyond, _MOST_OVERSHOOT)
        coefficients = _rd_threshold(aim @ (_BASIS.T / steps), *thresholds)
    quantised[chosen] = coefficients


def _quantised_chroma(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return (n_block_rows, n_block_cols, 64) int16, each coefficient rounded to the nearest step."""
    steps = table.ravel()[ZIGZAG].astype(np.float32)
    rounded: np.ndarray = np.rint(_centred(_blocks(plane)) @ (_BASIS.T / steps)).astype(np.int16)
    return rounded.reshape(plane.shape[0] // 8, -1, 64)


def _blocks(plane: np.ndarray, every: int = 1) -> np.ndarray:
    """Return (n_blocks, 64): the blocks of a padded plane, or every n-th row and column of them."""
    blocks = plane.reshape(plane.shape[0] // 8, 8, -1, 8).swapaxes(1, 2)
    return blocks[::every, ::every].reshape(-1, 64)


def _centred(blocks: np.ndarray) -> np.ndarray:
    """Return uint8 pixels as float32 centred on zero, as the DCT requires (T.81, A.3.1)."""
    return np.asarray(blocks.astype(np.float32) - np.float32(128))


def _thresholds(luma: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least size (in steps) of a non-zero coefficient, and the amount subtracted from larger ones to round.

    Between n - 1 and n steps a coefficient x becomes n if the squared error that this saves, (2 (x - n) + 1) step²,
    outweighs the additional bits. The cost of a size at a frequency is the negative logarithm of its share on the page,
    and a bit for the sign; each size above 2 adds as much cost as 2 adds to 1.

    Args:
        luma: uint8 plane of whole blocks.
        steps: (64,) zigzag quantisation steps.

    Returns:
        Two (64,) float32; DC is rounded normally.
    """
    every = max(1, round((luma.size / 64 / _SAMPLED_BLOCKS) ** 0.5))
    sample = _centred(_blocks(luma, every))
    size = np.minimum(np.rint(np.abs(sample @ (_BASIS.T / steps))), 2)
    shares = np.stack([(size == n).sum(axis=0) + 0.5 for n in range(3)]) / (len(sample) + 1.5)
    bits = -np.log2(shares) + np.array([[0.0], [1.0], [1.0]])
    worth = _BIT_WORTH * np.exp(2 * np.log(steps[1:]).mean()) / steps**2
    zero, rest = (np.maximum(bits[n + 1] - bits[n], 0.0) * worth / 2 for n in range(2))
    zero[0] = rest[0] = 0.0
    return np.float32(0.5) + zero.astype(np.float32), rest.astype(np.float32)


def _rd_threshold(values: np.ndarray, least: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Return (n, 64) int16: coefficients in steps, rounded by rate-distortion thresholds.

    >>> least, loss = np.array([0.5, 0.8, 0.8, 0.8]), np.array([0.0, 0.2, 0.2, 0.0])
    >>> _rd_threshold(np.array([[0.7, -0.7, 1.6, -2.4]]), least, loss)
    array([[ 1,  0,  1, -2]], dtype=int16)
    """
    size = np.abs(values)
    rounded: np.ndarray = np.where(size < least, 0.0, np.clip(np.floor(size + 0.5 - loss), 1.0, _LARGEST))
    return np.asarray(np.copysign(rounded, values).astype(np.int16))


def _segments(tables: Sequence[np.ndarray], options: Mapping[str, object]) -> bytes:
    """Return the marker segments from JFIF to the quantisation tables, as Pillow writes them for a one-pixel image."""
    buffer = io.BytesIO()
    image = Image.new("L" if len(tables) == 1 else "RGB", (1, 1))
    # Pillow's quality would scale the tables; -1 means none
    as_they_are: dict[str, Any] = {"quality": -1, "qtables": [table.ravel().tolist() for table in tables]}
    image.save(buffer, "JPEG", **{**options, **as_they_are})
    data, place = buffer.getvalue(), 2
    while not 0xC0 <= data[place + 1] <= 0xC2:  # up to the start of the frame (SOF)
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data[2:place]
