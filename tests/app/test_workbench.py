"""Test that a trial gives the output of a run, and that only steps affected by a change are repeated."""

import dataclasses
import io
from collections import Counter

import numpy as np
import pytest
import yaml

from foliopress.app import workbench as workbench_module
from foliopress.app.controls import ChosenSettings, as_profile
from foliopress.app.trial_result import job_of
from foliopress.app.uniform_baseline import find_uniform_baseline
from foliopress.app.workbench import LruCache, Workbench
from foliopress.configs.loading import load_settings, settings_digest
from foliopress.flows.steps import steps
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store

ACCESS = load_settings()


@pytest.fixture
def letter(draw_page):
    """The bytes of a small page of print."""
    buffer = io.BytesIO()
    draw_page("Council of the town 1898").save(buffer, "PNG", dpi=(100, 100))
    return buffer.getvalue()


@pytest.fixture
def calls(monkeypatch):
    """Number of calls of each costly step."""
    counts = Counter()

    def counted(module, name):
        real = getattr(module, name)

        def call(*args, **more):
            counts[name] += 1
            return real(*args, **more)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (workbench_module.recognition, "read_words"),
        (workbench_module.steps, "prepare_from_source"),
        (workbench_module.steps, "score_pages"),
        (workbench_module.steps, "compress_page"),
    ):
        counted(module, name)
    return counts


def with_settings(*overrides):
    return load_settings("access", overrides)


def run_through(name, data, settings, folder):
    """Process a one-page document with the steps of a run, from `folder`/scans to `folder`/out; return its rows."""
    (folder / "scans").mkdir()
    (folder / "scans" / name).write_bytes(data)
    job = dataclasses.replace(job_of(settings), source_url=str(folder / "scans"), dest_url=str(folder / "out"))
    source = steps.fetch_document(Document(name, len(data), "1"), job)
    prepared = steps.prepare_page(source, 0, job)
    scored = steps.score_pages([steps.scoring_input(prepared)], job)[0]
    return steps.store_document(source, [steps.finish_page(prepared, scored, source, job)], job).pages


def test_only_what_a_change_touches_is_done_again(letter, calls):
    workbench = Workbench("letter.png", letter)
    workbench.try_page(0, ACCESS)
    first = dict(calls)
    workbench.try_page(0, ACCESS)
    assert calls == first
    workbench.try_page(0, with_settings("importance.threshold=0.3"))
    assert (calls["prepare_from_source"], calls["score_pages"], calls["compress_page"]) == (1, 1, 2)
    reads = calls["read_words"]
    workbench.try_page(0, with_settings("encode.codec=webp"))
    assert calls["read_words"] - reads <= 1  # of the output; the source's words are remembered
    workbench.try_page(0, ACCESS)
    assert calls["compress_page"] == 3


def test_another_language_is_read_anew(letter, monkeypatch):
    asked = []

    def read_words(pixels, dpi, settings):
        asked.append(settings.language)
        return ()

    monkeypatch.setattr(recognition, "read_words", read_words)
    workbench = Workbench("letter.png", letter)
    workbench.try_page(0, ACCESS)
    workbench.try_page(0, with_settings("ocr.language=osd"))
    assert asked == ["eng", "osd"]


def test_the_exported_profile_gives_a_run_the_very_bytes_that_were_tried(letter, tmp_path):
    changed = {"encode.codec": "webp", "importance.threshold": 0.2, "legibility.target_ssim": 0.96}
    tried_with = with_settings(*(f"{key}={value}" for key, value in changed.items()))
    result = Workbench("a b.png", letter).try_page(0, tried_with)
    profile = tmp_path / "mine.yaml"
    profile.write_text(as_profile(ChosenSettings(tried_with, changed)))
    settings = load_settings(str(profile))
    assert settings_digest(settings) == settings_digest(tried_with)
    (row,) = run_through("a b.png", letter, settings, tmp_path)
    written = Store(str(tmp_path / "out"), settings.storage).read_bytes(str(row.output_key))
    assert written == result.finished.data
    assert result.output_name == "a b.png.webp"
    told_by_a_run = ("seconds_", "witness", "run_id", "shard_id")  # nobody looks at a trial, which is not stored
    of_run = row.as_record()
    same = [name for name in of_run if not name.startswith(told_by_a_run)]
    ours = result.row.as_record() | {"document_version": "1"}
    assert {name: ours[name] for name in same} == {name: of_run[name] for name in same}


def test_a_profile_is_a_file_of_sections_without_places_and_keys(letter):
    values = yaml.safe_load(as_profile(ChosenSettings(ACCESS, {})))
    assert set(values) == {
        *("limits", "ocr", "importance", "resolution", "encode", "documents", "legibility", "stats", "text")
    }


def test_the_text_check_names_the_words_that_read_otherwise(letter, monkeypatch):
    """The source's lines read as before, the output's and the whole output do not."""
    workbench = Workbench("letter.png", letter)
    result = workbench.try_page(
        0, load_settings("access", ["legibility.reread_digits_below=1", "legibility.reread_changes_above=0"])
    )
    read_words, read_lines, calls = recognition.read_words, recognition.read_lines, []

    def otherwise(words):
        return tuple(dataclasses.replace(word, text="1899" if word.text == "1898" else word.text) for word in words)

    def lines_otherwise(*args, **options):
        calls.append(args)
        found = read_lines(*args, **options)
        is_of_output = len(calls) in (1, 3)
        return [otherwise(words) for words in found] if is_of_output else found

    workbench._words._held.clear()
    monkeypatch.setattr(recognition, "read_words", lambda *args: otherwise(read_words(*args)))
    monkeypatch.setattr(recognition, "read_lines", lines_otherwise)
    found = workbench.check_text(result)
    bad = [(one.word.text, one.found, one.outcome) for one in found.checks if one.outcome in ("changed", "lost")]
    sure = [word for word in result.text.words if word.confidence >= 80 and word.text == "1898"]
    assert sure, "OCR read no year on this page"
    assert bad == [("1898", "1899", "changed")] * len(sure)
    assert len(found.checks) == result.row.words_sure


def test_what_cannot_be_opened_has_a_problem_and_what_cannot_be_decoded_a_row(letter):
    broken = Workbench("broken.png", b"no image at all").open(ACCESS)
    assert isinstance(broken.problem, PageError) and broken.problem.failed
    result = Workbench("cut.png", letter[: len(letter) // 2]).try_page(0, ACCESS)
    assert result.problem is not None and result.output() is None
    assert result.row.status in ("failed", "kept")


def test_a_uniform_quality_that_is_as_sharp_is_found_and_takes_bytes(letter):
    result = Workbench("letter.png", letter).try_page(0, ACCESS)
    found = find_uniform_baseline(result)
    assert found is not None
    assert 22 <= found.quality <= 92
    assert 0.3 * len(result.finished.data) < found.size_bytes < 10 * len(result.finished.data)


def test_what_was_not_asked_for_longest_is_forgotten_first():
    held = LruCache(2)
    made = []

    def ask(key):
        return held.get(key, lambda: made.append(key) or key)

    for key in (1, 2, 1, 3, 1, 2):
        assert ask(key) == key
    assert made == [1, 2, 3, 2]


def test_an_error_is_not_remembered():
    held = LruCache(2)
    with pytest.raises(PageError):
        held.get("a", lambda: (_ for _ in ()).throw(PageError("ocr_timeout", "no answer")))
    assert held.get("a", lambda: 1) == 1


def test_levels_and_importance_have_the_page_s_tiles(letter):
    result = Workbench("letter.png", letter).try_page(0, ACCESS)
    grid = result.text.grid
    assert result.analysis.importance.shape == result.levels.shape == (grid.n_rows, grid.n_cols)
    assert set(np.unique(result.levels)) <= {1, 2, 4, 8}


def test_the_page_of_a_pdf_is_downloaded_as_a_run_would_write_it(letter, tmp_path, draw_page):
    from tests.papers import Sheet, flate, paper

    pixels = np.asarray(draw_page("Council of the town 1898").convert("RGB"))
    single, double = paper(Sheet(flate(pixels))), paper(Sheet(flate(pixels)), Sheet(flate(255 - pixels)))
    result = Workbench("act.pdf", single).try_page(0, ACCESS)
    assert result.output_name == "act.pdf"
    run_through("act.pdf", single, ACCESS, tmp_path)
    assert Store(str(tmp_path / "out"), ACCESS.storage).read_bytes("pages/act.pdf") == result.output_file()
    assert result.output().pixels.shape[:2] == pixels.shape[:2]
    of_many = Workbench("act.pdf", double).try_page(1, ACCESS)
    assert of_many.output_name == "act.pdf-0002.jp2"
    assert of_many.output_file() == of_many.finished.data
