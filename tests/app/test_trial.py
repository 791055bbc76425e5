"""Test that a trial exposes intermediate results, and stops when it is no longer needed."""

import io
import threading
from dataclasses import replace

import pytest

from foliopress.app.page_images import picture_of
from foliopress.app.trial import Stage, Trial
from foliopress.app.workbench import Workbench
from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import LimitSettings
from foliopress.flows.steps import steps
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.page_writer import read_back

ACCESS = load_settings()
LONG_S = 120.0


@pytest.fixture
def workbench(draw_page):
    """A workbench with a small page of print."""
    buffer = io.BytesIO()
    draw_page("Council of the town 1898").save(buffer, "PNG", dpi=(100, 100))
    return Workbench("letter.png", buffer.getvalue())


@pytest.fixture
def held_check(monkeypatch):
    """An event that the check waits for before it judges."""
    may_judge = threading.Event()
    judge = Check.judge

    def waits(check, decoded):
        assert may_judge.wait(LONG_S)
        return judge(check, decoded)

    monkeypatch.setattr(Check, "judge", waits)
    yield may_judge
    may_judge.set()


def test_the_first_encoding_is_there_before_it_is_judged_and_the_rest_follows(workbench, held_check):
    trial = Trial(workbench, 0, ACCESS)
    assert trial.wait(Stage.STARTED, LONG_S)
    assert (trial.stage, trial.result, trial.follow_up) == (Stage.DRAFTED, None, None)
    seen = replace(trial.draft.page, pixels=read_back(trial.draft.data, LimitSettings()))
    assert trial.draft.preview.preview == picture_of(seen, is_preview=True).preview
    assert trial.draft.source_bytes == len(workbench.data)
    assert not trial.wait(Stage.DRAFTED, 0.05)
    held_check.set()
    assert trial.wait(Stage.DRAFTED, LONG_S) and trial.result.data == trial.draft.data
    assert trial.wait(Stage.JUDGED, LONG_S)
    assert trial.follow_up.uniform.size_bytes > 0
    assert trial.follow_up.words.count("unchanged", "same") > 0


def test_a_trial_that_is_stopped_goes_no_step_further_and_what_it_found_is_kept(workbench, held_check, monkeypatch):
    prepared, prepare = [], steps.prepare_from_source
    monkeypatch.setattr(steps, "prepare_from_source", lambda *asked: prepared.append(1) or prepare(*asked))
    first = Trial(workbench, 0, ACCESS)
    assert first.wait(Stage.STARTED, LONG_S)
    first.stop()
    assert not first.is_usable
    second = Trial(workbench, 0, load_settings("access", ["importance.threshold=0.3"]))
    held_check.set()
    assert second.wait(Stage.JUDGED, LONG_S)
    assert first.follow_up is None
    assert len(prepared) == 1


def test_what_goes_wrong_is_raised_where_somebody_waits(workbench, monkeypatch):
    monkeypatch.setattr(workbench, "try_page", lambda *_: (_ for _ in ()).throw(ConfigError("no Tesseract")))
    trial = Trial(workbench, 0, ACCESS)
    with pytest.raises(ConfigError, match="no Tesseract"):
        trial.wait(Stage.STARTED, LONG_S)
    assert not trial.is_usable


def test_an_output_that_tesseract_cannot_read_is_told_in_words(workbench, monkeypatch):
    def no_answer(_):
        raise PageError("ocr_timeout", "no answer in 1 s")

    monkeypatch.setattr(workbench, "check_text", no_answer)
    trial = Trial(workbench, 0, ACCESS)
    assert trial.wait(Stage.JUDGED, LONG_S)
    assert trial.follow_up.words == "no answer in 1 s"
