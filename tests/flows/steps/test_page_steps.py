"""A page's way from end to end, without Prefect and Dask: what becomes of a document, and what its rows say."""

import io
import xml.etree.ElementTree as ElementTree
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import Settings
from foliopress.flows.steps import steps
from foliopress.tasks.fit import fit_bitonal
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.ocr import recognition
from foliopress.tasks.records.schemas import page_table
from foliopress.tasks.storage.backend import ObjectArchived
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store


def scan(lines=("Minutes of 4 March 1887", "Present: the whole board"), *, grain=4.0, shape=(700, 900), colour=True):
    """A page at 150 dpi that looks scanned: toned paper with grain, and lines of print."""
    image = Image.new("L", shape[::-1], 228)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((70, 70 + 60 * number), line, fill=40, font=ImageFont.load_default(32))
    pixels = np.array(image)[..., np.newaxis] - np.array([0, 6, 24])
    pixels = pixels + np.random.default_rng(8).normal(0, grain, (*shape, 1))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    return pixels if colour else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def saved(pixels, form="JPEG", **options):
    buffer = io.BytesIO()
    options = {"quality": 92, **options} if form == "JPEG" else options
    Image.fromarray(pixels).save(buffer, form, dpi=(150, 150), **options)
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


class Stored(NamedTuple):
    """The stored files of a document, and its page rows as Parquet holds them."""

    pages: list
    words: pa.Table
    tiles: pa.Table


class Archive:
    """A source and a DEST on disk, and the steps between them with importance that a test makes up."""

    def __init__(self, folder, importance=0.0):
        (folder / "source").mkdir()
        (folder / "dest").mkdir()
        self.folder, self.importance = folder, importance
        self.dest = Store(str(folder / "dest"), Settings().storage)

    def run(self, key, data, settings=Settings()):  # noqa: B008
        if data is not None:
            (self.folder / "source" / key).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "source" / key).write_bytes(data)
        job = steps.PageJob(
            str(self.folder / "source"),
            str(self.folder / "dest"),
            settings,
            "run",
            "shard",
            "settings",
            "model",
            "litert-cpu",
        )
        source = steps.fetch_document(Document(key, len(data or b""), "v1"), job)
        finished = []
        for number in range(steps.describe(source).n_pages):
            prepared = steps.prepare_page(source, number, job)
            wanted = steps.scoring_input(prepared)
            scored = wanted and steps.TileScores(np.full(wanted.grid.n_tiles, self.importance, np.float32), 0.1)
            finished.append(steps.finish_page(prepared, scored, source, job))
        result = steps.store_document(source, finished, job)
        page_table(result.pages)  # every row fits its schema
        pages = [row.as_record() for row in result.pages]
        for _, rows in groupby(pages, key=itemgetter("output_key")):  # pages of one file share out its bytes
            assert sum(row["output_bytes"] - row["source_bytes"] for row in rows) <= 0
        return Stored(pages, result.words, result.tiles)

    def stored(self):
        return [found.key for found in self.dest.list_objects()]


def test_a_page_is_compressed_and_its_row_tells_what_was_done(archive):
    data = saved(scan())
    result = archive.run("letters/a.jpg", data)
    row = result.pages[0]
    assert archive.stored() == ["pages/letters/a.jpg.avif"] == [row["output_key"]]
    output = archive.dest.read_bytes(row["output_key"])
    assert (row["status"], row["reason"], row["codec"], row["page_kind"]) == ("compressed", None, "avif", "colour")
    assert (row["source_bytes"], row["output_bytes"]) == (len(data), len(output))
    assert len(output) < len(data) / 2
    assert (row["height_px"], row["width_px"], row["dpi"]) == (700, 900, pytest.approx(150))
    assert row["output_dpi"] == pytest.approx(150) == read_page(output, 0, Settings().limits).dpi
    assert sum(row[f"tiles_at_level_{level}"] for level in (1, 2, 4, 8)) == row["n_tiles"] == 22 * 29
    assert row["tiles_at_level_8"] > row["tiles_at_level_1"] > 0
    assert row["worst_block_ssim"] >= Settings().legibility.min_block_ssim
    assert 0.8 < row["text_ssim"] <= 1
    words = result.words.to_pylist()
    assert row["ocr_words"] == len(words) == 9
    assert [word["text"] for word in words[:3]] == ["Minutes", "of", "4"]
    assert result.tiles.to_pylist()[0]["level"].count(8) == row["tiles_at_level_8"]
    assert read_page(output, 0, Settings().limits).pixels.shape == (700, 900, 3)


def test_tiles_with_words_keep_their_resolution_though_the_network_sees_nothing(archive):
    result = archive.run("a.jpg", saved(scan()))
    tiles, word = result.tiles.to_pylist()[0], result.words.to_pylist()[0]
    row, col = (word["row_px"] + 10) // tiles["tile_px"], (word["col_px"] + 10) // tiles["tile_px"]
    assert tiles["level"][row * tiles["n_cols"] + col] == 1


def test_the_same_page_gives_the_same_bytes(archive):
    first = archive.run("a.jpg", saved(scan())).pages[0]
    assert archive.run("a.jpg", saved(scan())).pages[0]["output_sha256"] == first["output_sha256"]


def test_a_pdf_that_is_broken_stands_in_the_output_byte_for_byte(archive):
    row = archive.run("c.pdf", b"%PDF-1.4 something").pages[0]
    assert (row["status"], row["reason"], row["page_index"]) == ("failed", "damaged", 0)
    assert archive.dest.read_bytes("pages/c.pdf") == b"%PDF-1.4 something"


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"noise", "unreadable"), (saved(scan())[:4000], "damaged")]
)
def test_a_broken_file_fails_with_a_reason_and_stands_in_the_output_as_it_was(archive, data, reason):
    row = archive.run("a.jpg", data).pages[0]
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert row["message"] and "Traceback" not in row["message"]
    assert archive.dest.read_bytes("pages/a.jpg") == data


def test_a_source_that_is_gone_fails_without_output(archive):
    row = archive.run("gone.jpg", None).pages[0]
    assert (row["status"], row["reason"], row["output_key"], row["output_bytes"]) == (
        "failed",
        "source_missing",
        None,
        0,
    )


def test_a_source_in_an_archive_class_fails_with_what_to_do(archive, monkeypatch):
    def archived(*_):
        raise ObjectArchived("cannot read 'a.jpg': archived")

    monkeypatch.setattr(Store, "read_bytes", archived)
    row = archive.run("a.jpg", b"1").pages[0]
    assert (row["status"], row["reason"], row["output_key"]) == ("failed", "source_archived", None)
    assert "--retry-failed" in row["message"]


def test_what_its_own_codec_cannot_read_again_is_kept_and_not_the_sources_fault(archive):
    row = archive.run("flat.tif", saved(np.full((1, 60_000), 200, np.uint8), "TIFF")).pages[0]
    assert (row["status"], row["reason"]) == ("kept", "encoder_failed")


def many_pages(*pages):
    first, *rest = [Image.fromarray(page) for page in pages]
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=rest, dpi=(150, 150))
    return buffer.getvalue()


def test_the_pages_of_a_document_are_written_each_and_its_bytes_are_shared_out(archive):
    data = many_pages(scan(), scan(("Annex", "Receipts 1 to 12")), scan(("End",), shape=(350, 450)))
    rows = archive.run("b.tif", data).pages
    assert archive.stored() == [f"pages/b.tif/{number:04d}.avif" for number in (1, 2, 3)]
    assert [row["page_index"] for row in rows] == [0, 1, 2]
    assert sum(row["source_bytes"] for row in rows) == len(data)
    assert rows[2]["source_bytes"] == pytest.approx(rows[0]["source_bytes"] / 4, rel=0.01)


@pytest.mark.usefixtures("no_answer_for_low_pages")
def test_one_page_that_cannot_be_compressed_keeps_its_document_whole(archive):
    data = many_pages(scan(), scan(shape=(350, 450)), scan())
    result = archive.run("b.tif", data)
    assert [row["reason"] for row in result.pages] == ["document_kept", "ocr_timeout", "document_kept"]
    assert {row["status"] for row in result.pages} == {"kept"}
    assert {row["output_key"] for row in result.pages} == {"pages/b.tif"}
    assert sum(row["output_bytes"] for row in result.pages) == len(data)
    assert archive.stored() == ["pages/b.tif"]
    assert archive.dest.read_bytes("pages/b.tif") == data
    assert all(set(row["level"]) == {1} for row in result.tiles.to_pylist())


def test_text_is_written_beside_each_page_in_the_pixels_of_what_is_stored(archive):
    settings = Settings.model_validate(
        {"text": ["alto", "txt"], "resolution": {"max_dpi": 75}, "stats": {"words": "off"}}
    )
    archive.run("letters/a.jpg", saved(scan()), settings)
    assert archive.stored() == ["pages/letters/a.jpg.avif", "text/letters/a.jpg.alto.xml", "text/letters/a.jpg.txt"]
    assert archive.dest.read_bytes("text/letters/a.jpg.txt").startswith(b"Minutes of 4 March 1887\n")
    alto = ElementTree.fromstring(archive.dest.read_bytes("text/letters/a.jpg.alto.xml"))
    sheet, first = (next(one for one in alto.iter() if one.tag.endswith(name)) for name in ("Page", "String"))
    assert (sheet.get("HEIGHT"), sheet.get("WIDTH")) == ("350", "450")
    assert 30 <= int(first.get("HPOS")) <= 40 and 30 <= int(first.get("VPOS")) <= 50


@pytest.mark.usefixtures("no_answer_for_low_pages")
def test_text_of_kept_pages_is_that_of_their_source_and_what_ocr_did_not_read_has_none(archive):
    settings = Settings.model_validate({"text": ["hocr"], "resolution": {"max_dpi": 75}})
    archive.run("b.tif", many_pages(scan(), scan(shape=(350, 450))), settings)
    assert archive.stored() == ["pages/b.tif", "text/b.tif/0001.hocr.html"]
    assert b'image "b.tif"; bbox 0 0 900 700; ppageno 0' in ElementTree.tostring(
        ElementTree.fromstring(archive.dest.read_bytes("text/b.tif/0001.hocr.html"))
    ).replace(b"&quot;", b'"')


def test_a_bitonal_page_becomes_g4_without_loss(archive):
    bits = scan(grain=0, colour=False) > 128
    data = saved(bits, "TIFF", compression="tiff_lzw")
    row = archive.run("b.tif", data).pages[0]
    assert (row["codec"], row["page_kind"], row["output_key"]) == ("g4", "bitonal", "pages/b.tif.tif")
    assert np.array_equal(read_page(archive.dest.read_bytes("pages/b.tif.tif"), 0, Settings().limits).pixels > 0, bits)
    again = archive.run("c.tif", archive.dest.read_bytes("pages/b.tif.tif")).pages[0]
    assert (again["status"], again["reason"]) == ("kept", "already_compressed")


G4 = {"compression": "group4"}


def unread(*_):
    pytest.fail("a page was read that cannot become smaller")


def test_a_bitonal_page_in_g4_that_cannot_gain_is_neither_read_nor_scored(archive, monkeypatch):
    monkeypatch.setattr(recognition, "read_words", unread)
    monkeypatch.setattr(steps, "score_pages", unread)
    data = saved(scan(grain=0, colour=False) > 128, "TIFF", **G4)
    result = archive.run("b.tif", data)
    [row] = result.pages
    assert (row["status"], row["reason"], row["page_kind"], row["output_bytes"]) == (
        "kept",
        "no_gain",
        "bitonal",
        len(data),
    )
    assert (row["height_px"], row["width_px"], row["ocr_words"], row["n_tiles"]) == (700, 900, None, None)
    assert row["seconds_encode"] > 0
    assert "CCITT G4" in row["message"]
    assert (result.words.num_rows, result.tiles.num_rows) == (0, 0)
    assert archive.dest.read_bytes("pages/b.tif") == data


@pytest.mark.parametrize("wanted", [{"text": ["txt"]}, {"stats": {"words_of_kept": True}}])
def test_it_is_read_where_its_words_are_wanted(archive, wanted):
    data = saved(scan(grain=0, colour=False) > 128, "TIFF", **G4)
    result = archive.run("b.tif", data, Settings.model_validate(wanted))
    [row] = result.pages
    assert (row["status"], row["reason"], row["ocr_words"], result.words.num_rows) == ("kept", "no_gain", 9, 9)
    assert ("text/b.tif.txt" in archive.stored()) == ("text" in wanted)


def test_g4_whose_strips_are_so_short_that_they_cost_much_is_coded_again(archive):
    bits = scan(["Minutes of the board of 4 March 1887"] * 9, grain=0, colour=False) > 128
    buffer = io.BytesIO()
    Image.fromarray(bits).save(buffer, "TIFF", compression="group4", dpi=(150, 150), tiffinfo={278: 1})
    result = archive.run("b.tif", buffer.getvalue())
    [row] = result.pages
    assert (row["status"], row["codec"], row["words_kept_fraction"]) == ("compressed", "g4", 1.0)
    assert row["output_bytes"] <= 0.9 * row["source_bytes"]
    assert np.array_equal(read_page(archive.dest.read_bytes("pages/b.tif.tif"), 0, Settings().limits).pixels > 0, bits)


def test_a_bitonal_page_is_coded_once(archive, monkeypatch):
    coded, real = [], fit_bitonal.encode_bitonal
    monkeypatch.setattr(fit_bitonal, "encode_bitonal", lambda *a: coded.append(1) or real(*a))
    bits = scan(grain=0, colour=False) > 128
    [row] = archive.run("b.tif", saved(bits, "TIFF", compression="tiff_lzw")).pages
    assert (row["status"], len(coded)) == ("compressed", 1)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_page_on_its_side_is_read_and_checked_as_if_it_stood(archive, quarter_turns):
    lines = ["Minutes of 4 March 1887", "Present were the whole board", "The roof was mended for 118.40"] * 3
    page = scan(lines)
    upright = archive.run("a.jpg", saved(page)).pages[0]
    result = archive.run("b.jpg", saved(np.ascontiguousarray(np.rot90(page, -quarter_turns))))
    row, words = result.pages[0], result.words.to_pylist()
    assert (upright["quarter_turns"], row["quarter_turns"]) == (0, 4 - quarter_turns)
    assert {word["quarter_turns"] for word in words} == {4 - quarter_turns}
    assert " ".join(word["text"] for word in words) == " ".join(lines)
    assert (row["status"], row["codec"]) == ("compressed", "avif")
    assert row["words_kept_fraction"] == 1.0
    assert row["text_ssim"] == pytest.approx(upright["text_ssim"], abs=0.02)
    assert row["dpi"] == pytest.approx(upright["dpi"])


def test_a_bitonal_scan_saved_as_jpeg_goes_back_to_one_bit(archive):
    page = np.where(scan(grain=0, colour=False) > 128, 255, 0).astype(np.uint8)
    row = archive.run("a.jpg", saved(page)).pages[0]
    assert (row["page_kind"], row["codec"], row["status"]) == ("two-tone", "g4", "compressed")
    assert row["text_ssim"] > 0.98


def test_what_does_not_get_smaller_is_kept(archive):
    tiny = saved(scan(), "AVIF", quality=5)
    row = archive.run("a.avif", tiny).pages[0]
    assert (row["status"], row["reason"], row["output_bytes"]) == ("kept", "no_gain", len(tiny))


def test_a_many_page_document_that_does_not_get_smaller_says_so_on_every_page(archive):
    first, second = Image.fromarray(scan()), Image.fromarray(scan()[::-1])
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=[second], compression="jpeg", quality=60)
    # each page is smaller than the document, both together are not
    settings = Settings.model_validate(
        {"encode": {"quality": 96}, "resolution": {"harshest_level": 1, "paper_level": 1}}
    )
    result = archive.run("b.tif", buffer.getvalue(), settings)
    rows = result.pages
    assert len(rows) == 2
    assert {(row["status"], row["reason"]) for row in rows} == {("kept", "no_gain")}
    assert archive.stored() == ["pages/b.tif"]


def strict(mode, **encode):
    return Settings.model_validate(
        {
            "legibility": {"mode": mode, "min_block_ssim": 0.999, "max_attempts": 5},
            "encode": {"quality": 10, "retry_quality_step": 1, **encode},
        }
    )


def test_a_page_that_cannot_pass_its_check_is_kept_with_the_figures(archive):
    row = archive.run("a.jpg", saved(scan()), strict("enforce")).pages[0]
    assert (row["status"], row["reason"], row["attempts"]) == ("kept", "legibility", 5)
    assert row["worst_block_ssim"] < 0.999
    assert "0.999" in row["message"]
    assert row["tiles_at_level_1"] == row["n_tiles"]


def test_measure_writes_the_figures_and_keeps_nothing_and_off_writes_none(archive):
    measured = archive.run("a.jpg", saved(scan()), strict("measure")).pages[0]
    assert (measured["status"], measured["attempts"]) == ("compressed", 1)
    assert measured["worst_block_ssim"] < 0.999
    unchecked = archive.run("a.jpg", saved(scan()), strict("off")).pages[0]
    assert (unchecked["status"], unchecked["worst_block_ssim"]) == ("compressed", None)


def test_ink_that_a_coarse_level_harms_gets_its_resolution_back_before_the_quality_rises(archive):
    page = scan(lines=())
    page[300:302, 100:800] -= 30  # a faint rule that no OCR reads and the made-up network does not see
    settings = Settings.model_validate(
        {"resolution": {"error_budget": 64}, "legibility": {"min_block_ssim": 0.9}, "encode": {"quality": 53}}
    )
    result = archive.run("a.jpg", saved(page), settings)
    row = result.pages[0]
    assert row["status"] == "compressed"
    assert (row["attempts"], row["quality"]) == (2, settings.encode.quality)
    [tiles] = result.tiles.to_pylist()
    levels = np.array(tiles["level"]).reshape(tiles["n_rows"], -1)
    assert (levels[300 // tiles["tile_px"], 8:20] == 1).all()
    assert (levels[-4:] == 8).all()


@pytest.mark.parametrize(("wanted", "texts"), [("full", 9), ("boxes", 0), ("off", None)])
def test_words_are_written_in_full_as_boxes_or_not_at_all(archive, wanted, texts):
    settings = Settings.model_validate({"stats": {"words": wanted}})
    words = archive.run("a.jpg", saved(scan()), settings).words.to_pylist()
    assert len(words) == (0 if texts is None else 9)
    assert sum(word["text"] is not None for word in words) == (texts or 0)


@pytest.mark.parametrize("codec", ["webp", "jpeg"])
def test_other_codecs_write_their_own_ending(archive, codec):
    settings = Settings.model_validate({"encode": {"codec": codec, "quality": 40}})
    row = archive.run("a.png", saved(scan(), "PNG"), settings).pages[0]
    assert row["output_key"] == output_key("a.png", extension={"webp": "webp", "jpeg": "jpg"}[codec])


def test_a_document_given_up_is_copied_and_says_why(archive):
    archive.run("a.jpg", saved(scan()))
    job = steps.PageJob(
        str(archive.folder / "source"), str(archive.folder / "dest"), Settings(), "run", "shard", "s", "m", "litert-cpu"
    )
    result = steps.fail_document(Document("a.jpg", 1, "v1"), job, "worker_killed", "its worker was killed twice", 3)
    assert [row.page_index for row in result.pages] == [0, 1, 2]
    assert result.output_bytes == len(saved(scan()))
    assert (result.pages[0].status, result.pages[0].reason) == ("failed", "worker_killed")
    assert archive.dest.read_bytes("pages/a.jpg") == saved(scan())
