"""JPEG entropy coding: any decoder recovers the exact coefficients."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foliopress.tasks.codecs.jpeg_entropy import LONGEST_SIDE_PX, ZIGZAG, write_jpeg

STEP = 4


def segments(n_tables):
    """Return JFIF and tables of one step for all frequencies, as Pillow writes them before the frame."""
    buffer = io.BytesIO()
    Image.new("L" if n_tables == 1 else "RGB", (1, 1)).save(buffer, "JPEG", qtables=[[STEP] * 64] * n_tables)
    return buffer.getvalue()[2 : buffer.getvalue().index(b"\xff\xc0")]


def pixels_of(blocks):
    """Return the inverse cosine transform by its definition (T.81, A.3.3), not clipped."""
    n_rows, n_cols, _ = blocks.shape
    matrix = np.zeros((n_rows, n_cols, 64))
    matrix[..., ZIGZAG] = blocks * float(STEP)
    place, frequency = np.arange(8), np.arange(8)[:, np.newaxis]
    cosines = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.where(frequency == 0, 8**-0.5, 0.5)
    patches = np.einsum("ik,rcij,jl->rckl", cosines, matrix.reshape(n_rows, n_cols, 8, 8), cosines) + 128
    return patches.swapaxes(1, 2).reshape(n_rows * 8, n_cols * 8)


def opened(data, process="smaller"):
    """Return (height, width) or (height, width, 3) YCbCr, float."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L" if image.mode == "L" else "YCbCr", None)
        assert process in ("smaller", "progressive" if image.info.get("progressive") else "baseline")
        return np.asarray(image).astype(float)


def grey_blocks(height_px, width_px):
    return np.zeros((-(-height_px // 8), -(-width_px // 8), 64), np.int16)


def assert_comes_back(blocks, height_px, width_px):
    expected = np.clip(pixels_of(blocks), 0, 255)[:height_px, :width_px]
    sizes = {}
    for process in ("progressive", "baseline", "smaller"):
        data = write_jpeg(segments(1), [blocks], height_px, width_px, process)
        found = opened(data, process)
        assert np.abs(found - expected).max() <= 1.01  # libjpeg's integer transform rounds
        sizes[process] = len(data)
    stuffed = max(data.count(b"\xff\x00"), 16)
    assert sizes["smaller"] <= min(sizes["progressive"], sizes["baseline"]) + stuffed  # zeros that no count foresees


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 0.6), st.integers(1, 900), st.integers(0, 2**32 - 1))
def test_grey_coefficients_come_back_whatever_the_size_and_density(height_px, width_px, density, largest, seed):
    rng = np.random.default_rng(seed)
    blocks = grey_blocks(height_px, width_px)
    blocks[:] = rng.integers(-largest, largest + 1, blocks.shape) * (rng.random(blocks.shape) < density)
    patches = pixels_of(blocks).reshape(blocks.shape[0], 8, blocks.shape[1], 8)
    blocks[np.abs(patches - 128).max(axis=(1, 3)) > 500] = 0  # libjpeg clips to white and black no further out
    assert_comes_back(blocks, height_px, width_px)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_colour_coefficients_come_back_with_chroma_at_half_size(height_px, width_px, seed):
    rng = np.random.default_rng(seed)
    units = -(-height_px // 16), -(-width_px // 16)
    luma = rng.integers(-20, 21, (2 * units[0], 2 * units[1], 64)) * (
        rng.random((2 * units[0], 2 * units[1], 64)) < 0.2
    )
    chroma = [np.zeros((*units, 64), np.int16) for _ in range(2)]
    for plane, value in zip(chroma, rng.integers(-200, 201, 2), strict=True):
        plane[..., 0] = value
    for process in ("progressive", "baseline", "smaller"):
        data = write_jpeg(segments(2), [luma.astype(np.int16), *chroma], height_px, width_px, process)
        found = opened(data, process)
        expected = np.clip(pixels_of(luma), 0, 255)[:height_px, :width_px]
        assert np.abs(found[..., 0] - expected).max() <= 1.01
        for number, plane in enumerate(chroma, start=1):
            assert np.abs(found[..., number] - np.clip(128 + plane[0, 0, 0] * STEP / 8, 0, 255)).max() <= 1.01


@settings(max_examples=20, deadline=None)
@given(st.integers(17, 60), st.integers(17, 60), st.integers(0, 2**32 - 1))
def test_chroma_frequencies_come_back_in_their_blocks(height_px, width_px, seed):
    rng = np.random.default_rng(seed)
    units = -(-height_px // 16), -(-width_px // 16)
    blocks = (rng.integers(-9, 10, (*units, 64)) * (rng.random((*units, 64)) < 0.1)).astype(np.int16)
    luma, other = np.zeros((2 * units[0], 2 * units[1], 64), np.int16), np.zeros_like(blocks)
    found = opened(write_jpeg(segments(2), [luma, blocks, other], height_px, width_px))[..., 1]
    small = pixels_of(blocks)
    # viewers interpolate chroma, but between an interior pixel's own value and its neighbours' nothing else can come
    rows, cols = np.arange(2, height_px - 2), np.arange(2, width_px - 2)
    around = np.stack(
        [small[np.ix_(np.clip(rows // 2 + i, 0, None), cols // 2 + j)] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    )
    inner = found[np.ix_(rows, cols)]
    assert (inner >= np.clip(around.min(axis=0), 0, 255) - 2).all()
    assert (inner <= np.clip(around.max(axis=0), 0, 255) + 2).all()


@pytest.mark.parametrize("place", [0, 40_000, 64_999])
def test_more_empty_blocks_than_one_code_spans_are_passed_over(place):
    blocks = grey_blocks(8 * 260, 8 * 250)
    blocks.reshape(-1, 64)[place, [3, 40]] = 9, -5
    assert_comes_back(blocks, 8 * 260, 8 * 250)


def test_an_empty_page_comes_back_and_is_small():
    data = write_jpeg(segments(1), [grey_blocks(2000, 2000)], 2000, 2000)
    assert (opened(data) == 128).all()
    assert len(data) < 10_000  # one bit a block is the least that JPEG can do


def test_values_so_unequal_in_number_that_huffman_codes_would_exceed_sixteen_bits_come_back():
    counts = [1, 2]
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    page = grey_blocks(8 * 170, 8 * 170)
    blocks = page.reshape(-1, 64)
    assert sum(counts) < len(blocks)
    # symbol n: a run of n // 3 zeros before a value of 1, 2 or 3 bits, as often as a number of Fibonacci
    start = 0
    for number, count in enumerate(counts):
        blocks[start : start + count, 9 + number // 3] = 1 << number % 3
        start += count
    assert_comes_back(page, 8 * 170, 8 * 170)


def test_blocks_that_do_not_make_the_page_are_refused():
    with pytest.raises(ValueError, match="do not make 17 x 8 pixels"):
        write_jpeg(segments(1), [grey_blocks(16, 8)], 17, 8)
    with pytest.raises(ValueError, match="do not make"):
        write_jpeg(segments(2), [grey_blocks(16, 16)] * 3, 16, 16)


def test_pages_longer_than_viewers_open_are_refused():
    with pytest.raises(ValueError, match=f"at most {LONGEST_SIDE_PX} pixels"):
        write_jpeg(segments(1), [grey_blocks(8, LONGEST_SIDE_PX + 1)], 8, LONGEST_SIDE_PX + 1)
