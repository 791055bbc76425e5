"""A many-page TIFF that is written back as one."""

import io

import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import DocumentSettings, Settings
from foliopress.tasks.images import tiff_ifd
from foliopress.tasks.images.image_reader import read_page
from tests.flows.steps.test_page_steps import Archive, scan

SAME = Settings(documents=DocumentSettings(tiff="same"))
LEAVES = [scan((f"Leaf {number}", "1887"), shape=(300, 500), colour=number == 2) for number in (1, 2)]
LINES = scan(("Leaf 3", "1887"), shape=(300, 500), colour=False) > 150


def book(*images):
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:], dpi=(150, 150), compression="tiff_lzw")
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def test_a_tiff_becomes_a_smaller_tiff_of_as_many_pages(archive):
    data = book(Image.fromarray(LEAVES[0]), Image.fromarray(LEAVES[1]), Image.fromarray(LINES))
    result = archive.run("b.tif", data, SAME)
    assert [(row["status"], row["codec"]) for row in result.pages] == [
        ("compressed", "tiff"),
        ("compressed", "tiff"),
        ("compressed", "g4"),
    ]
    assert archive.stored() == ["pages/b.tif"]
    output = archive.dest.read_bytes("pages/b.tif")
    assert sum(row["output_bytes"] for row in result.pages) == len(output) < len(data) / 2
    for number, source in enumerate((*LEAVES, LINES * 255)):
        page = read_page(output, number, Settings().limits)
        assert page.pixels.shape == source.shape and page.dpi == pytest.approx(150)
    assert np.array_equal(read_page(output, 2, Settings().limits).pixels, LINES * np.uint8(255))


def test_a_tiff_of_the_other_byte_order_becomes_one_that_can_be_read(archive):
    described, leaf = tiff_ifd.Directory(">"), scan(("Leaf 1", "1887"), shape=(300, 500), colour=False)
    height_px, width_px = leaf.shape
    numbers = {256: width_px, 257: height_px, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height_px}
    described.tags.update({tag: described.of(tiff_ifd.SHORT, value) for tag, value in numbers.items()})
    described.tags[279] = described.of(tiff_ifd.LONG, leaf.size)
    described.tags[282] = described.tags[283] = described.of(tiff_ifd.RATIONAL, 150, 1)
    result = archive.run("b.tif", tiff_ifd.block(described, before=leaf.tobytes()), SAME)
    assert [row["status"] for row in result.pages] == ["compressed"]
    page = read_page(archive.dest.read_bytes("pages/b.tif"), 0, Settings().limits)
    assert page.pixels.shape == leaf.shape and page.dpi == pytest.approx(150)


@pytest.mark.usefixtures("no_answer_for_low_pages")
def test_a_tiff_with_a_page_that_stays_is_kept_byte_for_byte(archive):
    data = book(Image.fromarray(LEAVES[0]), Image.fromarray(scan(shape=(350, 450))))
    result = archive.run("b.tif", data, SAME)
    assert [row["reason"] for row in result.pages] == ["document_kept", "ocr_timeout"]
    assert archive.dest.read_bytes("pages/b.tif") == data
    assert {row["output_key"] for row in result.pages} == {"pages/b.tif"}


def test_what_was_written_back_once_is_kept_the_second_time(archive):
    archive.run("b.tif", book(Image.fromarray(LEAVES[0]), Image.fromarray(LINES)), SAME)
    once = archive.dest.read_bytes("pages/b.tif")
    (row,) = archive.run("c.tif", once, SAME).pages
    assert (row["status"], row["reason"]) == ("kept", "already_compressed")
