"""A trial: seen as far as it has come, stopped when it is of no use any more."""

import io
import threading
from dataclasses import replace

import pytest

from foliopress.app.page_images import picture_of
from foliopress.app.trial import Stage, Trial
from foliopress.app.workbench import Bench
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import LimitSettings
from foliopress.flows.steps import steps
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.errors import ConfigError, PageError
from foliopress.tasks.fit.page_writer import read_back

ACCESS = load_settings()
LONG_S = 120.0


@pytest.fixture
def bench(draw_page):
    """With a small page of print."""
    buffer = io.BytesIO()
    draw_page("Council of the town 1898").save(buffer, "PNG", dpi=(100, 100))
    return Bench("letter.png", buffer.getvalue())


@pytest.fixture
def held_check(monkeypatch):
    """The check waits for this event before it judges."""
    may_judge = threading.Event()
    judge = Check.judge

    def waits(check, decoded):
        assert may_judge.wait(LONG_S)
        return judge(check, decoded)

    monkeypatch.setattr(Check, "judge", waits)
    yield may_judge
    may_judge.set()


def test_the_first_encoding_is_there_before_it_is_judged_and_the_rest_follows(bench, held_check):
    trial = Trial(bench, 0, ACCESS)
    assert trial.wait(Stage.BEGUN, LONG_S)
    assert (trial.stage, trial.tried, trial.closer) == (Stage.DRAWN, None, None)
    seen = replace(trial.draft.page, pixels=read_back(trial.draft.data, LimitSettings()))
    assert trial.draft.preview.preview == picture_of(seen, is_preview=True).preview
    assert trial.draft.source_bytes == len(bench.data)
    assert not trial.wait(Stage.DRAWN, 0.05)
    held_check.set()
    assert trial.wait(Stage.DRAWN, LONG_S) and trial.tried.data == trial.draft.data
    assert trial.wait(Stage.JUDGED, LONG_S)
    assert trial.closer.uniform.size_bytes > 0
    assert [check.verdict for check in trial.closer.checks].count("kept") > 0


def test_a_trial_that_is_stopped_goes_no_step_further_and_what_it_found_is_kept(bench, held_check, monkeypatch):
    prepared, prepare = [], steps.prepare_from_source
    monkeypatch.setattr(steps, "prepare_from_source", lambda *asked: prepared.append(1) or prepare(*asked))
    first = Trial(bench, 0, ACCESS)
    assert first.wait(Stage.BEGUN, LONG_S)
    first.stop()
    assert not first.is_of_use
    second = Trial(bench, 0, load_settings("access", ["importance.threshold=0.3"]))
    held_check.set()
    assert second.wait(Stage.JUDGED, LONG_S)
    assert first.closer is None
    assert len(prepared) == 1


def test_what_goes_wrong_is_raised_where_somebody_waits(bench, monkeypatch):
    monkeypatch.setattr(bench, "try_page", lambda *_: (_ for _ in ()).throw(ConfigError("no Tesseract")))
    trial = Trial(bench, 0, ACCESS)
    with pytest.raises(ConfigError, match="no Tesseract"):
        trial.wait(Stage.BEGUN, LONG_S)
    assert not trial.is_of_use


def test_an_output_that_tesseract_cannot_read_is_told_in_words(bench, monkeypatch):
    def no_answer(_):
        raise PageError("ocr_timeout", "no answer in 1 s")

    monkeypatch.setattr(bench, "check_text", no_answer)
    trial = Trial(bench, 0, ACCESS)
    assert trial.wait(Stage.JUDGED, LONG_S)
    assert trial.closer.checks == "no answer in 1 s"
