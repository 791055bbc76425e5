"""Test the page that tries a scan in Streamlit: the controls have their effect, and problems are explained."""

import io
import re
import threading

import pytest
from PIL import Image

from foliopress.app import try_page
from foliopress.app.trial import Stage, Trial
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.checks.rereading import Rereading, WordCheck
from foliopress.tasks.errors import PageError
from tests.app.shown import markdown, shown, visible_text


def png_of(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=(100, 100))
    return buffer.getvalue()


@pytest.fixture
def result(window, draw_page):
    """The window with a page of print."""
    return give(window, "letter.png", png_of(draw_page("Council of the town 1898")))


def give(window, name, data, mimetype="image/png"):
    window.file_uploader[0].set_value((name, data, mimetype)).run()
    return window


def labelled(elements, label):
    return next(one for one in elements if one.label == label)


def metrics(window):
    return {one.label: one.value for one in window.metric}


def test_it_says_what_to_do_before_there_is_a_scan(window):
    assert not window.exception
    assert [one.value for one in window.title] == ["Try a scan"]
    assert "Nothing leaves this machine" in window.markdown[0].value


def test_a_scan_is_shown_with_its_figures_and_downloads(result):
    assert not result.exception and not result.error
    found = metrics(result)
    assert set(found) == {"Source", "Output", "Uniform, as sharp", "Text SSIM", "Words kept"}
    assert found["Uniform, as sharp"].endswith("B")
    assert 0 < float(found["Text SSIM"]) <= 1
    assert {one.label for one in result.download_button} == {
        "Download these settings",
        "Download the output",
        "Download its row",
    }
    assert "reads the same" in visible_text(result) or "read the same" in visible_text(result)
    assert "find text" in visible_text(result)


@pytest.mark.long
def test_every_control_changes_what_comes_out_or_is_told(result):
    before = visible_text(result)
    labelled(result.selectbox, "Format").select("jpeg").run()
    assert "JPEG at quality" in visible_text(result) and "AVIF" in before
    labelled(result.toggle, "Fixed quality").set_value(True).run()
    labelled(result.slider, "Quality").set_value(77).run()
    assert "quality 77" in visible_text(result)
    labelled(result.toggle, "Fixed quality").set_value(False).run()
    qualities = []
    for target in (0.91, 0.995):
        labelled(result.slider, "Legibility target").set_value(target).run()
        qualities.append(int(visible_text(result).split("at quality ")[1].split(" ")[0]))
    assert qualities[0] < qualities[1]
    labelled(result.select_slider, "Coarsest resolution of empty areas").set_value(1).run()
    labelled(result.slider, "Importance threshold").set_value(0.5).run()
    labelled(result.selectbox, "Page resolution").select(150).run()
    assert not result.exception and not result.error
    labelled(result.selectbox, "Profile").select("compatible").run()
    assert "JPEG at quality" in visible_text(result)


def test_a_document_of_many_pages_has_a_page_picker(window, draw_page):
    pages = [draw_page(f"Page {number}") for number in (1, 2, 3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], dpi=(100, 100))
    give(window, "minutes.tif", buffer.getvalue(), "image/tiff")
    picker = labelled(window.number_input, "Page (of 3)")
    picker.set_value(3).run()
    assert not window.exception and not window.error
    assert metrics(window)["Output"].endswith("B")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("letter.png", b"this is no image", "Try to open it in another program"),
        ("document.png", b"%PDF-1.4 and so on", "Try to open it in another program"),
        ("empty.jpg", b"", "Try to open it in another program"),
    ],
)
def test_a_file_that_cannot_be_opened_is_told_with_what_to_do(window, name, data, words):
    give(window, name, data)
    assert not window.exception
    assert words in visible_text(window) and "kept unchanged" in visible_text(window)


def test_a_page_that_does_not_shrink_is_shown_with_the_reason(window):
    give(window, "tiny.png", png_of(Image.new("L", (32, 32), 255)))
    assert not window.exception
    assert "small already" in visible_text(window)
    assert not any(one.label == "Download the output" for one in window.download_button)


def test_another_scan_takes_the_place_of_the_first(result, draw_page):
    first = metrics(result)
    give(result, "other.png", png_of(draw_page("Another one").resize((960, 720), Image.Resampling.BICUBIC)))
    assert "other.png" in shown(result)
    second = metrics(result)
    assert second["Source"] != first["Source"] and second["Uniform, as sharp"] != first["Uniform, as sharp"]


@pytest.mark.parametrize("data", [b"this is no image", None], ids=["no image", "a page"])
def test_a_file_s_name_is_not_taken_for_markdown(window, draw_page, data):
    name = "![x](http:||evil.example|a.png) :red[z] <img src=evil.example>.png"
    give(window, name, data or png_of(draw_page("Council of the town 1898")))
    assert not window.exception
    assert name in shown(window) and "evil" not in markdown(window)


def test_a_sample_can_be_tried_without_a_scan_of_one_s_own(window):
    samples = labelled(window.selectbox, "or a sample")
    samples.select(next(one for one in samples.options if "receipt" in one)).run()
    assert not window.exception and not window.error
    assert metrics(window)["Output"].endswith("B")


def test_two_people_do_not_see_each_other_s_scans(window, result):
    assert window is result
    other = type(window).from_file(window._script_path, default_timeout=120).run()
    assert [one.value for one in other.title] == ["Try a scan"]
    assert "workbench" in result.session_state and "workbench" not in other.session_state


def test_tesseract_without_an_answer_is_told_beside_the_page(result, monkeypatch):
    def no_answer(*_):
        raise PageError("ocr_timeout", "OCR gave no answer in 1 s; page kept whole")

    monkeypatch.setattr(try_page.Workbench, "check_text", no_answer)
    labelled(result.slider, "Importance threshold").set_value(0.3).run()
    assert not result.exception
    assert "OCR gave no answer" in visible_text(result)


def test_until_a_new_try_is_judged_nothing_of_the_old_one_can_be_downloaded(result, monkeypatch):
    may_judge, judge, wait = threading.Event(), Check.judge, Trial.wait

    def judges_later(check, decoded):
        may_judge.wait(120)
        return judge(check, decoded)

    def stops_when_drawn(trial, beyond, timeout_s):
        return try_page.st.stop() if beyond is Stage.DRAFTED else wait(trial, beyond, timeout_s)

    monkeypatch.setattr(Check, "judge", judges_later)
    monkeypatch.setattr(Trial, "wait", stops_when_drawn)
    labelled(result.slider, "Importance threshold").set_value(0.3).run()
    may_judge.set()
    assert not result.exception
    assert not result.download_button
    assert {one.label for one in result.button if one.disabled} >= {"Download the output", "Download these settings"}
    assert metrics(result)["Output"].endswith("B") and metrics(result)["Text SSIM"] == "…"


def test_words_that_read_otherwise_are_listed_and_the_picked_one_is_looked_at(result, monkeypatch):
    def two_differ(workbench, page):
        words = [word for word in page.text.words if word.confidence >= 80]
        checks = [
            WordCheck(word, "unchanged" if number % 2 else "same", word.text) for number, word in enumerate(words)
        ]
        checks[:2] = [WordCheck(words[0], "unrepeatable", "5040"), WordCheck(words[1], "changed", "Courcil")]
        return Rereading(True, tuple(checks), 3)

    monkeypatch.setattr(try_page.Workbench, "check_text", two_differ)
    labelled(result.slider, "Importance threshold").set_value(0.3).run()
    table = result.dataframe[0].value
    assert list(table["output"]) == ["Courcil", "5040"]
    (counts,) = [one.value for one in result.caption if one.value.startswith("OCR was sure of")]
    numbers = [int(number) for number in re.findall(r"\d+", counts)]
    n_sure, n_unchanged, n_reread, n_same, n_lost, n_unrepeatable = numbers
    assert (n_sure, n_reread) == (n_unchanged + n_reread, n_same + n_lost + n_unrepeatable)
    assert (n_lost, n_unrepeatable) == (1, 1)
    result.session_state["text check"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert not result.exception
