"""Test the measures of the quality benchmark: judged ink, losses, and equivalent uniform quality."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import judgement
from benchmarks.arms import ArmFailed, SourceArm
from benchmarks.curves import Measured, bytes_at, common_keys, summarise
from benchmarks.judgement import judge_arm, judge_page, words_found
from benchmarks.marked import MarkedPage, find_marked, read_marked
from benchmarks.rows import RowFile
from benchmarks.uniform import UniformArm, encode_to_bytes, encode_uniform
from foliopress.configs.errors import ConfigError
from foliopress.tasks.ocr.recognition import Word
from tests.benchmarks.made_up_scans import LINE, STAMP, drawn_page, truth_csv, write_scans


@pytest.fixture
def page(tmp_path: Path) -> MarkedPage:
    """Return a scan with one marked line and an unmarked drawing."""
    write_scans(tmp_path)
    (scan,) = find_marked(tmp_path, "test")
    return read_marked(scan)


def test_any_folder_will_do_whose_images_have_truth_beside_them(tmp_path: Path) -> None:
    write_scans(tmp_path, ("c/a.png", "d/images/b.png"))
    (tmp_path / "d/images/truth/b.csv").rename(tmp_path / "d/b.csv")
    (tmp_path / "d/images/truth").rename(tmp_path / "d/truth")
    (tmp_path / "d/b.csv").rename(tmp_path / "d/truth/b.csv")
    cv2.imwrite(str(tmp_path / "c/unmarked.png"), drawn_page())
    found = find_marked(tmp_path, "test")
    assert [(scan.key, scan.collection) for scan in found] == [("c/a.png", "c"), ("d/images/b.png", "d")]


def test_of_a_data_folder_the_split_counts_and_what_a_program_made_bitonal_does_not(tmp_path: Path) -> None:
    names = ("a", "b", "c_B")
    table = ["path,split,role"]
    for name, split in zip(names, ("test", "train", "test"), strict=True):
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / f"c/{name}.csv").write_text(truth_csv())
        table += [f"c/{name}.png,{split},image", f"c/{name}.csv,{split},truth"]
    (tmp_path / "manifest.csv").write_text("\n".join(table))
    assert [scan.key for scan in find_marked(tmp_path, "test")] == ["c/a.png"]


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), drawn_page())
    with pytest.raises(ConfigError, match="no scan with marked lines"):
        find_marked(tmp_path, "test")


def test_text_is_judged_inside_the_marked_lines_and_other_ink_outside_them(page: MarkedPage) -> None:
    rows, _ = np.nonzero(page.strokes)
    assert rows.min() >= LINE[0] and rows.max() <= LINE[1]
    assert page.other is not None
    top, bottom, left, right = (edge // 2 for edge in STAMP)
    assert page.other[top:bottom, left:right].mean() > 0.3
    assert not page.other[: LINE[1] // 2 + 4].any() and not page.other[:, : left - 16].any()
    assert page.words["alpha"] == 1 and page.words["7"] == 1


def test_words_count_only_in_collections_that_english_ocr_reads(page: MarkedPage, tmp_path: Path) -> None:
    french = dataclasses.replace(page.scan, split="test", collection="tapuscorpus")
    english = dataclasses.replace(page.scan, split="test", collection="ehri-typed")
    assert not read_marked(french).words
    assert read_marked(english).words == page.words


def test_a_page_that_is_as_it_was_lost_nothing(page: MarkedPage) -> None:
    figures = judge_page(page, page.pixels.copy())
    assert figures == {"text_ssim": pytest.approx(1), "other_ssim": pytest.approx(1), "chroma_error": 0}


@pytest.mark.parametrize(("smeared", "text_falls"), [(LINE, True), (STAMP[:2], False)])
def test_each_loss_is_seen_where_it_happened(page: MarkedPage, smeared: tuple[int, int], text_falls: bool) -> None:
    worse = page.pixels.copy()
    band = slice(smeared[0], smeared[1] + 10)
    worse[band] = cv2.GaussianBlur(worse[band], (0, 0), 3)
    figures = judge_page(page, worse)
    fallen, whole = ("text_ssim", "other_ssim") if text_falls else ("other_ssim", "text_ssim")
    assert figures[fallen] < 0.8
    assert figures[whole] == pytest.approx(1)


def test_words_are_found_wherever_they_are_read_but_not_oftener_than_they_stand_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def read(pixels: np.ndarray, dpi: float, settings: object) -> tuple[Word, ...]:
        seen.update(dpi=dpi, shape=pixels.shape)
        return tuple(Word(0, 0, 0, 1, 1, text, 90) for text in ("Pier,", "pier", "7"))

    monkeypatch.setattr(judgement.recognition, "read_words", read)
    large = np.zeros((6600, 10), np.uint8)
    assert words_found(large, Counter({"pier": 1, "7": 1, "stone": 1})) == 2
    assert seen == {"dpi": 300, "shape": (3300, 5)}  # a letter page


def test_an_arm_that_fails_becomes_a_row_that_says_why(tmp_path: Path) -> None:
    write_scans(tmp_path)
    (scan,) = find_marked(tmp_path, "test")

    class Broken(SourceArm):
        def make(self, page: MarkedPage) -> Any:
            raise ArmFailed("no such thing")

    row = judge_arm(scan, Broken(reads_words=False))
    assert row["error"] == "no such thing" and "bytes" not in row


def test_uniform_quality_of_equal_bytes_is_the_first_that_takes_no_fewer() -> None:
    pixels = drawn_page()
    wanted = len(encode_uniform(pixels, "jpeg", 40))
    data, quality = encode_to_bytes(pixels, "jpeg", wanted)
    assert len(data) >= wanted > len(encode_uniform(pixels, "jpeg", quality - 1))
    assert encode_to_bytes(pixels, "jpeg", 10**9)[1] == 100


@pytest.mark.parametrize("codec", ["avif", "webp", "jpeg"])
def test_uniform_quality_keeps_more_the_higher_it_is(page: MarkedPage, codec: str) -> None:
    low, high = (judge_page(page, UniformArm(codec, quality, False).make(page).pixels) for quality in (15, 85))
    assert low["text_ssim"] < high["text_ssim"] < 1


def row(key: str, arm: str, size_bytes: int, **figures: Any) -> dict[str, Any]:
    made_up = {"text_ssim": 0.9, "other_ssim": None, "chroma_error": 1.0, "seconds": 2.0, "source_bytes": 1000}
    named = {"key": key, "collection": "c", "arm": arm, "family": arm.rpartition(" ")[0] or arm, "page_kind": "grey"}
    return {**named, "bytes": size_bytes, **made_up, **figures}


def uniform_row(key: str, quality: int, size_bytes: int, ssim: float) -> dict[str, Any]:
    return row(key, f"uniform AVIF {quality}", size_bytes, text_ssim=ssim, quality=quality, codec="avif")


def test_uniform_bytes_are_those_of_equal_strokes_page_by_page() -> None:
    rows = [
        *(uniform_row("a", 20, 100, 0.8), uniform_row("a", 60, 400, 1.0)),
        *(uniform_row("b", 20, 100, 0.95), uniform_row("b", 60, 400, 1.0)),
        *(uniform_row("k", 20, 100, 0.5), uniform_row("k", 60, 400, 0.6)),
        *(row("a", "ours", 100, codec="avif"), row("b", "ours", 100), row("k", "ours", 200, codec="tif")),
    ]
    measured = Measured(rows)
    found = summarise(measured.of_arm("ours"), measured)
    # a: halfway from 100 to 400 bytes in logarithms is 200; b: even the lowest quality is better; k: 400 is the most
    assert found["ratio"] == pytest.approx((100 + 200) / (200 + 400))
    assert found["ratio_median"] == pytest.approx(0.5)
    assert (found["pages"], found["bytes"], found["saved"]) == (3, 400, pytest.approx(1 - 400 / 3000))


def test_a_page_that_was_kept_is_not_held_against_uniform_quality() -> None:
    rows = [uniform_row("a", 20, 100, 0.8), uniform_row("a", 60, 400, 1.0), row("a", "ours", 100, status="kept")]
    found = summarise([rows[-1]], Measured(rows))
    assert (found["kept"], found["ratio"]) == (1, None)


def test_the_scans_themselves_are_not_held_against_uniform_quality() -> None:
    rows = [uniform_row("a", 20, 100, 0.8), uniform_row("a", 60, 400, 0.99), row("a", "source", 900, text_ssim=1.0)]
    assert summarise([rows[-1]], Measured(rows))["ratio"] is None


def test_another_codec_is_held_against_itself_and_against_avif() -> None:
    rows = [
        *(uniform_row("a", 20, 100, 0.8), uniform_row("a", 60, 400, 1.0)),
        row("a", "uniform JPEG 20", 200, text_ssim=0.8, quality=20),
        row("a", "uniform JPEG 60", 800, text_ssim=1.0, quality=60),
        row("a", "ours", 300, codec="jpeg"),
    ]
    found = summarise([rows[-1]], Measured(rows))
    assert (found["ratio"], found["ratio_avif"]) == (pytest.approx(0.75), pytest.approx(1.5))


def test_no_bytes_are_guessed_without_a_sweep() -> None:
    assert bytes_at([], 0.5) is None


def test_words_are_pooled_and_two_lost_ones_forgiven() -> None:
    words = {"long": (100, 90, 80), "lucky": (50, 40, 45), "short": (20, 20, 10)}
    rows = []
    for key, (n_words, at_first, afterwards) in words.items():
        rows.append(row(key, "source", 1000, n_words=n_words, words_found=at_first))
        rows.append(row(key, "ours", 100, n_words=n_words, words_found=afterwards))
    measured = Measured(rows)
    found = summarise(measured.of_arm("ours"), measured)
    assert found["words_source"] == pytest.approx(150 / 170) and found["words_found"] == pytest.approx(135 / 170)
    assert found["worst_drop"] == pytest.approx(0.08)  # the short one has too few words


def test_only_pages_that_all_arms_have_are_summed() -> None:
    rows = [row("a", "x", 1), row("b", "x", 1), row("b", "y", 1), row("c", "y", 1, n_words=3)]
    rows.append({"key": "a", "arm": "y", "family": "y", "error": "broke"})
    measured = Measured(rows)
    assert common_keys(measured, ["x", "y"]) == {"b"}
    assert common_keys(measured, ["y"], with_words=True) == {"c"}
    assert [failed["error"] for failed in measured.failed] == ["broke"]


def test_rows_outlast_a_stop_and_a_line_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    arm = UniformArm("avif", 25, reads_words=True)
    table = RowFile(path)
    table.add({"key": "a", "arm": arm.name, "digest": None, "read": True, "bytes": 5})
    with path.open("a") as file:
        file.write('{"key": "b", "arm": "uniform AVIF 25", "dig')
    table = RowFile(path)
    assert table.has("a", arm) and not table.has("b", arm)
    table.add({"key": "b", "arm": arm.name, "digest": None, "read": True, "bytes": 6})
    assert [RowFile(path).row(key, arm)["bytes"] for key in ("a", "b")] == [5, 6]


@pytest.mark.parametrize("change", [{"error": "broke"}, {"read": False}, {"digest": "of another output"}])
def test_a_row_is_made_again_that_failed_or_lacks_words_or_is_of_another_output(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    arm = SourceArm(reads_words=True)
    table = RowFile(tmp_path / "rows.jsonl")
    table.add({"key": "a", "arm": arm.name, "digest": None, "read": True} | change)
    assert not table.has("a", arm)
    table.add({"key": "a", "arm": arm.name, "digest": None, "read": True})
    assert table.has("a", arm) and RowFile(tmp_path / "rows.jsonl").has("a", arm)
