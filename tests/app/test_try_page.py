"""Try a scan, as Streamlit runs it: each control does what it says, and trouble is told in words."""

import io
import threading

import pytest
from PIL import Image

from foliopress.app import try_page
from foliopress.app.trial import Stage, Trial
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.checks.rereading import WordCheck
from foliopress.tasks.errors import PageError
from tests.app.shown import markdown, said, shown


def png_of(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=(100, 100))
    return buffer.getvalue()


@pytest.fixture
def tried(window, draw_page):
    """The window with a page of print in it."""
    return give(window, "letter.png", png_of(draw_page("Council of the town 1898")))


def give(window, name, data, mimetype="image/png"):
    window.file_uploader[0].set_value((name, data, mimetype)).run()
    return window


def labelled(elements, label):
    return next(one for one in elements if one.label == label)


def figures(window):
    return {one.label: one.value for one in window.metric}


def test_it_says_what_to_do_before_there_is_a_scan(window):
    assert not window.exception
    assert [one.value for one in window.title] == ["Try a scan"]
    assert "Nothing leaves this machine" in window.markdown[0].value


def test_a_scan_is_shown_with_its_figures_and_downloads(tried):
    assert not tried.exception and not tried.error
    found = figures(tried)
    assert set(found) == {"Source", "Output", "Uniform, as sharp", "Text SSIM", "Words kept"}
    assert found["Uniform, as sharp"].endswith("B")
    assert 0 < float(found["Text SSIM"]) <= 1
    assert {one.label for one in tried.download_button} == {
        "Download these settings",
        "Download the output",
        "Download its row",
    }
    assert "reads the same" in said(tried) or "read the same" in said(tried)
    assert "find text" in said(tried)


def test_every_control_changes_what_comes_out_or_is_told(tried):
    before = said(tried)
    labelled(tried.selectbox, "Format").select("jpeg").run()
    assert "JPEG at quality" in said(tried) and "AVIF" in before
    labelled(tried.toggle, "Fixed quality").set_value(True).run()
    labelled(tried.slider, "Quality").set_value(77).run()
    assert "quality 77" in said(tried)
    labelled(tried.toggle, "Fixed quality").set_value(False).run()
    qualities = []
    for target in (0.91, 0.995):
        labelled(tried.slider, "Legibility target").set_value(target).run()
        qualities.append(int(said(tried).split("at quality ")[1].split(" ")[0]))
    assert qualities[0] < qualities[1]
    labelled(tried.select_slider, "Coarsest resolution of empty places").set_value(1).run()
    labelled(tried.slider, "Importance threshold").set_value(0.5).run()
    labelled(tried.selectbox, "Resolution of the page").select(150).run()
    assert not tried.exception and not tried.error
    labelled(tried.selectbox, "Profile").select("compatible").run()
    assert "JPEG at quality" in said(tried)


def test_a_document_of_many_pages_has_a_page_picker(window, draw_page):
    pages = [draw_page(f"Page {number}") for number in (1, 2, 3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], dpi=(100, 100))
    give(window, "minutes.tif", buffer.getvalue(), "image/tiff")
    picker = labelled(window.number_input, "Page (of 3)")
    picker.set_value(3).run()
    assert not window.exception and not window.error
    assert figures(window)["Output"].endswith("B")


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
    assert words in said(window) and "kept as it is" in said(window)


def test_a_page_that_does_not_shrink_is_shown_with_the_reason(window):
    give(window, "tiny.png", png_of(Image.new("L", (32, 32), 255)))
    assert not window.exception
    assert "small already" in said(window)
    assert not any(one.label == "Download the output" for one in window.download_button)


def test_another_scan_takes_the_place_of_the_first(tried, draw_page):
    first = figures(tried)
    give(tried, "other.png", png_of(draw_page("Another one").resize((960, 720), Image.Resampling.BICUBIC)))
    assert "other.png" in shown(tried)
    second = figures(tried)
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
    assert figures(window)["Output"].endswith("B")


def test_two_people_do_not_see_each_other_s_scans(window, tried):
    assert window is tried
    other = type(window).from_file(window._script_path, default_timeout=120).run()
    assert [one.value for one in other.title] == ["Try a scan"]
    assert "bench" in tried.session_state and "bench" not in other.session_state


def test_tesseract_without_an_answer_is_told_beside_the_page(tried, monkeypatch):
    def no_answer(*_):
        raise PageError("ocr_timeout", "OCR gave no answer in 1 s; page kept whole")

    monkeypatch.setattr(try_page.Bench, "check_text", no_answer)
    labelled(tried.slider, "Importance threshold").set_value(0.3).run()
    assert not tried.exception
    assert "OCR gave no answer" in said(tried)


def test_until_a_new_try_is_judged_nothing_of_the_old_one_can_be_downloaded(tried, monkeypatch):
    may_judge, judge, wait = threading.Event(), Check.judge, Trial.wait

    def judges_later(check, decoded):
        may_judge.wait(120)
        return judge(check, decoded)

    def stops_when_drawn(trial, beyond, timeout_s):
        return try_page.st.stop() if beyond is Stage.DRAWN else wait(trial, beyond, timeout_s)

    monkeypatch.setattr(Check, "judge", judges_later)
    monkeypatch.setattr(Trial, "wait", stops_when_drawn)
    labelled(tried.slider, "Importance threshold").set_value(0.3).run()
    may_judge.set()
    assert not tried.exception
    assert not tried.download_button
    assert {one.label for one in tried.button if one.disabled} >= {"Download the output", "Download these settings"}
    assert figures(tried)["Output"].endswith("B") and figures(tried)["Text SSIM"] == "…"


def test_words_that_read_otherwise_are_listed_and_the_picked_one_is_looked_at(tried, monkeypatch):
    def one_changed(bench, page):
        words = [word for word in page.text.words if word.confidence >= 80]
        checks = [WordCheck(word, word.text, "kept") for word in words[1:]]
        return (WordCheck(words[0], "Courcil", "changed"), *checks)

    monkeypatch.setattr(try_page.Bench, "check_text", one_changed)
    labelled(tried.slider, "Importance threshold").set_value(0.3).run()
    table = tried.dataframe[0].value
    assert list(table["output"]) == ["Courcil"]
    tried.session_state["text check"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert not tried.exception
