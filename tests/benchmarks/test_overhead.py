"""Test the overhead benchmark: attribution of processes, and the measured period."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from benchmarks.contestants import lay_out
from benchmarks.overhead import API, DRIVER, LOOPS, STEPS, as_markdown, taken_by, watched_run, while_working


class FakeProcess:
    """A process in the form of `psutil`."""

    def __init__(self, words: list[str], seconds: list[float], children: tuple[FakeProcess, ...] = ()) -> None:
        self._words, self._seconds, self._children = words, seconds, children

    def cmdline(self) -> list[str]:
        return self._words

    def threads(self) -> list[object]:
        return [SimpleNamespace(user_time=seconds, system_time=1.0) for seconds in self._seconds]

    def children(self, recursive: bool) -> tuple[FakeProcess, ...]:
        return self._children


def test_each_process_is_counted_as_what_it_does() -> None:
    worker = FakeProcess(["python", "-c", "from multiprocessing.spawn import spawn_main"], [1.0, 50.0, 2.0])
    tesseract = FakeProcess(["python", "-m", "foliopress.tasks.ocr.tesseract_worker"], [30.0])
    api = FakeProcess(["python", "-m", "foliopress.flows.prefect_api"], [3.0, 4.0])
    driver = FakeProcess(["python", "-m", "foliopress.flows.cli"], [6.0, 1.0], (api, worker, tesseract))
    assert taken_by(driver) == {STEPS: 51.0 + 31.0, LOOPS: 2.0 + 3.0, DRIVER: 7.0 + 2.0, API: 7.0 + 2.0}


def test_start_and_end_of_a_run_do_not_count() -> None:
    samples = [
        (0, 5.0, {DRIVER: 9.0}),
        (10, 20.0, {STEPS: 10.0, LOOPS: 1.0, DRIVER: 10.0, API: 5.0}),
        (50, 60.0, {STEPS: 50.0, LOOPS: 1.4, DRIVER: 10.5, API: 5.1}),
        (90, 100.0, {STEPS: 90.0, LOOPS: 1.8, DRIVER: 11.0, API: 5.4}),
        (100, 110.0, {STEPS: 99.0, LOOPS: 2.0, DRIVER: 20.0, API: 9.0}),
    ]
    found = while_working(samples, 100)
    assert found == {"pages": 80, "wall_s": 80.0, "core_s": {STEPS: 80.0, LOOPS: 0.8, DRIVER: 1.0, API: 0.4}}
    with pytest.raises(ValueError, match="too short"):
        while_working(samples[:2], 100)


def test_rounds_are_summed_and_more_workers_held_against_one_in_each() -> None:
    def run(wall_s: float, steps_s: float) -> dict[str, object]:
        return {"pages": 80, "wall_s": wall_s, "core_s": {STEPS: steps_s, LOOPS: 0.8, DRIVER: 1.0, API: 0.6}}

    figures = {"machine": {"processor": "Some CPU", "cores": 2}, "scans": 24, "pages": 100, "rounds": 2}
    figures["runs"] = {1: [run(80, 70), run(100, 90)], 2: [run(40, 75), run(52, 85)]}
    text = as_markdown(figures)
    assert "| 1 | 160 | 53.3 | 160.0 | 1.6 | 2.0 | 1.2 | 3.0 % |" in text
    assert "2 workers are 2.00, 1.92 × 1, round by round." in text


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_real_run_is_watched(tmp_path: Path, draw_page: Callable[[str], Image.Image]) -> None:
    draw_page("A page").save(tmp_path / "one.jpg", dpi=(100, 100))
    archive = lay_out([tmp_path / "one.jpg"], tmp_path / "laid", 12)
    samples = watched_run(archive, tmp_path / "run", 1)
    taken = max((taken for *_, taken in samples), key=lambda taken: sum(taken.values()))
    assert set(taken) == {STEPS, LOOPS, DRIVER, API} and all(seconds > 0 for seconds in taken.values())
    done = [pages for pages, *_ in samples]
    assert done == sorted(done) and done[-1] <= 12
