"""Tesseract by library and by program: the same words, and every failure is an error with a reason."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytesseract
import pytest
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import OcrSettings
from foliopress.tasks.errors import HostError, PageError
from foliopress.tasks.ocr import tesseract
from foliopress.tasks.ocr.tesseract import SINGLE_LINE, WHOLE_PAGE, TimeLimit, check_tesseract, read_pictures

ROOT = Path(__file__).resolve().parents[3]

LIBRARY, PROGRAM = OcrSettings(engine="library"), OcrSettings(engine="program")
BOTH = pytest.mark.parametrize("settings", [LIBRARY, PROGRAM], ids=["library", "program"])
LINES = ["The ledger of the year 1887", "was closed on 31 December", "with a balance of 4,512.60"]


def drawn(*lines: str) -> np.ndarray:
    image = Image.new("L", (1000, 60 + 90 * len(lines)), 245)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((40, 30 + 90 * number), line, fill=25, font=ImageFont.load_default(40))
    return np.array(image)


def text_of(readings) -> str:
    return " ".join(reading.text for reading in readings)


def helper() -> subprocess.Popen[bytes]:
    """Return the process with the library that reads for this one."""
    running = tesseract._library(os.getpid())._process
    assert running is not None
    return running


@BOTH
def test_pictures_are_answered_in_their_order(settings: OcrSettings) -> None:
    found = read_pictures([drawn(line) for line in LINES], SINGLE_LINE, 200, settings)
    assert [text_of(readings) for readings in found] == LINES
    (page,) = read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, settings)
    assert text_of(page) == " ".join(LINES)
    assert len({reading.line for reading in page}) == 3
    assert all(0 <= reading.confidence <= 100 for reading in page)


def test_the_library_and_the_program_read_the_same_words_in_the_same_places() -> None:
    page = drawn(*LINES)
    by_library, by_program = (read_pictures([page], WHOLE_PAGE, 200, settings)[0] for settings in (LIBRARY, PROGRAM))
    assert [reading.text for reading in by_library] == [reading.text for reading in by_program]
    for one, other in zip(by_library, by_program, strict=True):
        assert np.allclose(one[1:5], other[1:5], atol=3)


def test_what_is_read_of_a_page_does_not_hang_on_what_was_read_before() -> None:
    pages = [drawn(*LINES), drawn(*LINES[::-1]), drawn("Mr. Jl1I0O5S8B", "rnm vvw cl d"), drawn(*LINES)]
    alone = []
    for page in pages:
        helper_before = tesseract._library(os.getpid())
        if helper_before._process is not None:
            helper_before._process.kill()
        alone.append(read_pictures([page], WHOLE_PAGE, 200, LIBRARY)[0])
    assert [read_pictures([page], WHOLE_PAGE, 200, LIBRARY)[0] for page in pages] == alone
    assert read_pictures(pages, WHOLE_PAGE, 200, LIBRARY) == alone


@BOTH
@pytest.mark.parametrize("n_pictures", [1, 2])
def test_no_answer_in_time_is_an_error_and_never_means_no_text(settings: OcrSettings, n_pictures: int) -> None:
    hurried = settings.model_copy(update={"timeout_s": 0.003})
    with pytest.raises(PageError) as caught:
        read_pictures([drawn(*LINES)] * n_pictures, WHOLE_PAGE, 200, hurried)
    assert (caught.value.reason, caught.value.failed) == ("ocr_timeout", False)
    assert text_of(read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, settings)[0]) == LINES[0]  # not the late answer


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Replace the program by a shell script; it can continue as `$TESSERACT "$@"`, and its starts are counted."""

    def replace(script: str) -> Path:
        found = shutil.which(pytesseract.pytesseract.tesseract_cmd)
        path, starts = tmp_path / "tesseract", tmp_path / "starts"
        path.write_text(f'#!/bin/sh\nTESSERACT="{found}"\necho >>"{starts}"\nSTARTS=$(wc -l <"{starts}")\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(tesseract.pytesseract.pytesseract, "tesseract_cmd", str(path))
        return starts

    return replace


def test_a_program_that_crashes_is_an_error_with_a_reason(program: Callable[[str], Path]) -> None:
    starts = program("kill -SEGV $$")
    with pytest.raises(PageError) as caught:
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, PROGRAM)
    assert caught.value.reason == "ocr_failed"
    assert starts.read_text() == "\n"  # it would crash again


def test_what_the_program_says_of_its_error_stands_in_the_message(program: Callable[[str], Path]) -> None:
    program("echo 'no memory for the picture' >&2; exit 3")
    with pytest.raises(PageError, match="no memory for the picture"):
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, PROGRAM)


@pytest.mark.parametrize(("deaths", "reason"), [(1, None), (2, None), (3, "ocr_killed"), (9, "ocr_killed")])
def test_a_program_that_was_killed_is_asked_again_before_the_page_is_given_up(
    program: Callable[[str], Path], deaths: int, reason: str | None
) -> None:
    starts = program(f'[ "$STARTS" -gt {deaths} ] || kill -KILL $$\nexec $TESSERACT "$@"')
    if reason is None:
        assert text_of(read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM)[0]) == LINES[0]
    else:
        with pytest.raises(PageError) as caught:
            read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM)
        assert (caught.value.reason, caught.value.failed) == (reason, False)
        assert starts.read_text() == "\n" * 3


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT"])
def test_a_program_that_somebody_ends_is_the_machine_s_trouble_and_no_page_s(
    program: Callable[[str], Path], name: str
) -> None:
    starts = program(f'[ "$STARTS" -gt 2 ] || kill -{name} $$\nexec $TESSERACT "$@"')
    assert text_of(read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM)[0]) == LINES[0]
    starts.unlink()
    starts = program(f"kill -{name} $$")
    with pytest.raises(HostError, match=f"Tesseract is repeatedly ended by SIG{name}"):
        read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM)
    assert starts.read_text() == "\n" * 3


def test_a_process_that_works_longer_than_its_limit_is_ended(program: Callable[[str], Path], tmp_path: Path) -> None:
    program(f'echo $$ >"{tmp_path}/pid"\nwhile :; do :; done')
    limit = TimeLimit(processor_s=0.3, wall_s=60)
    with pytest.raises(PageError, match="processor time") as caught:
        read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM, limit)
    assert caught.value.reason == "ocr_timeout"
    assert 0.3 <= limit.spent_s < 0.6
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_process_that_hangs_without_working_is_ended_by_the_wall_clock(program: Callable[[str], Path]) -> None:
    program("exec sleep 100")
    start = time.monotonic()
    with pytest.raises(PageError) as caught:
        read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM.model_copy(update={"timeout_s": 0.1}))
    assert caught.value.reason == "ocr_timeout"
    assert 1.0 <= time.monotonic() - start < 20


def stopped_for(seconds: float, process: psutil.Process) -> threading.Thread:
    """Stop a process now, and let it continue after some seconds."""
    process.suspend()
    waker = threading.Timer(seconds, process.resume)
    waker.start()
    return waker


def test_a_library_that_waits_for_its_turn_is_not_late() -> None:
    page = drawn(*LINES * 4)
    expected = read_pictures([page], WHOLE_PAGE, 200, LIBRARY)
    limit = TimeLimit(processor_s=2.0, wall_s=60)
    waker = stopped_for(2.5, psutil.Process(helper().pid))
    start = time.monotonic()
    assert read_pictures([page], WHOLE_PAGE, 200, LIBRARY, limit) == expected
    waker.join()
    assert time.monotonic() - start > 2.4
    assert 0 < limit.spent_s < 2.0


def test_a_program_that_waits_for_its_turn_is_not_late(program: Callable[[str], Path]) -> None:
    program('(sleep 2.5; kill -CONT $$) & kill -STOP $$\nexec $TESSERACT "$@"')
    start = time.monotonic()
    found = read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, PROGRAM, TimeLimit(processor_s=2.0, wall_s=60))
    assert text_of(found[0]) == LINES[0]
    assert time.monotonic() - start > 2.4


@BOTH
def test_what_reading_took_is_told(settings: OcrSettings) -> None:
    limit = TimeLimit.of(settings, share=0.5)
    assert (limit.processor_s, limit.wall_s) == (90, 1800)
    read_pictures([drawn(*LINES * 4)], WHOLE_PAGE, 200, settings, limit)
    assert 0.02 < limit.spent_s < 30


def kill_whenever_it_reads(signal_number: int, deaths: int, ended: threading.Event) -> None:
    """End the process with the library in the middle of its work, so many times."""
    while deaths and not ended.wait(0.002):
        running = tesseract._library(os.getpid())._process
        if running is not None and running.poll() is None and psutil.Process(running.pid).cpu_times().user > 0.15:
            running.send_signal(signal_number)
            running.wait()
            deaths -= 1


@pytest.mark.parametrize(
    ("signal_number", "deaths", "reason"),
    [(signal.SIGKILL, 1, None), (signal.SIGKILL, 9, "ocr_killed"), (signal.SIGSEGV, 1, "ocr_failed")],
)
def test_a_library_whose_process_ends_is_asked_again_if_it_was_killed(
    signal_number: int, deaths: int, reason: str | None
) -> None:
    page = drawn(*LINES * 40)  # seconds of work, so that it is in the midst of it
    expected = read_pictures([page], WHOLE_PAGE, 200, LIBRARY)
    helper().kill()
    helper().wait()  # or the first signal would go to this one
    ended = threading.Event()
    killer = threading.Thread(target=kill_whenever_it_reads, args=(signal_number, deaths, ended))
    killer.start()
    try:
        if reason is None:
            assert read_pictures([page], WHOLE_PAGE, 200, LIBRARY) == expected
        else:
            with pytest.raises(PageError) as caught:
                read_pictures([page], WHOLE_PAGE, 200, LIBRARY)
            assert (caught.value.reason, caught.value.failed) == (reason, False)
    finally:
        ended.set()
        killer.join()
    assert read_pictures([page], WHOLE_PAGE, 200, LIBRARY) == expected


@BOTH
def test_a_language_that_cannot_be_loaded_is_the_machine_s_trouble(settings: OcrSettings) -> None:
    with pytest.raises(HostError, match="Tesseract.* cannot be used: "):
        read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, settings.model_copy(update={"language": "tlh"}))
    assert text_of(read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, LIBRARY)[0]) == LINES[0]


def test_the_process_ends_with_the_one_it_reads_for(tmp_path: Path) -> None:
    script = (
        "import sys, os, numpy as np\n"
        "from foliopress.configs.settings import OcrSettings\n"
        "from foliopress.tasks.ocr import tesseract\n"
        "tesseract.read_pictures([np.full((50, 50), 255, np.uint8)], 3, 200, OcrSettings())\n"
        "print(tesseract._library(os.getpid())._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).resolve().parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    reader = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    latest = time.monotonic() + 5
    while reader.is_running() and reader.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < latest, "the process outlives the one it reads for"
        time.sleep(0.02)


def test_without_the_package_the_program_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "has_library", lambda: False)
    monkeypatch.setattr(tesseract, "_library", pytest.fail)
    assert text_of(read_pictures([drawn(LINES[0])], SINGLE_LINE, 200, LIBRARY)[0]) == LINES[0]
    assert "tesserocr" not in check_tesseract(LIBRARY)


def test_the_version_tells_which_of_the_two_reads() -> None:
    assert check_tesseract(LIBRARY).startswith("tesserocr ")
    assert check_tesseract(PROGRAM)[0].isdigit()


@BOTH
def test_a_language_that_is_not_installed_is_named(settings: OcrSettings) -> None:
    with pytest.raises(ConfigError, match="no tlh"):
        check_tesseract(settings.model_copy(update={"language": "eng+tlh"}))


def test_a_missing_tesseract_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract.pytesseract.pytesseract, "tesseract_cmd", "no-such-program")
    with pytest.raises(ConfigError, match="apt-get install"):
        check_tesseract(PROGRAM)


@BOTH
def test_a_full_folder_for_temporary_files_is_the_machine_s_trouble(settings: OcrSettings, small_disk: Path) -> None:
    with pytest.raises(HostError, match=rf"host .*{small_disk}.*No space left on device.*; make room there"):
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, settings)
    assert list(small_disk.iterdir()) == []


@BOTH
def test_a_folder_for_temporary_files_that_is_gone_is_the_machine_s_trouble(
    settings: OcrSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(HostError, match="No such file or directory.*; check its folder for temporary files"):
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, settings)


@pytest.fixture
def no_helper() -> Iterator[None]:
    """Restart the library's process within a test and after it."""
    tesseract._library.cache_clear()
    yield
    tesseract._library.cache_clear()


@BOTH
@pytest.mark.usefixtures("no_helper")
def test_no_more_open_files_are_the_machine_s_trouble(settings: OcrSettings) -> None:
    script = (
        "import os, resource, sys, numpy as np\n"
        "from foliopress.configs.settings import OcrSettings\n"
        "from foliopress.tasks.ocr import tesseract\n"
        "tesseract.has_library(), tesseract._tessdata()\n"
        "most = max(map(int, os.listdir('/proc/self/fd'))) + 2\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "try:\n"
        f"    settings = OcrSettings(engine={settings.engine!r})\n"
        "    tesseract.read_pictures([np.full((50, 50), 255, np.uint8)], 3, 200, settings)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.startswith("HostError host ")
    assert "Too many open files" in told and "ulimit -n" in told


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec /no/such/loader", "/no/such/loader"),
        ("echo 'tesseract: error while loading shared libraries: liblept.so.5: cannot open' >&2; exit 127", "liblept"),
        ("echo 'Error opening data file /usr/share/eng.traineddata' >&2; exit 1", "eng.traineddata"),
        ('TESSDATA_PREFIX=/nowhere exec $TESSERACT "$@"', "/nowhere"),
    ],
    ids=["no loader", "no library", "no data said", "no data"],
)
def test_a_program_that_cannot_be_loaded_is_the_machine_s_trouble(
    program: Callable[[str], Path], script: str, said: str
) -> None:
    program(script)
    with pytest.raises(HostError, match=f"Tesseract cannot be used.*{said}"):
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, PROGRAM)


@pytest.fixture
def broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_helper: None) -> None:
    """Provide the package without the library that it needs."""
    package = tmp_path / "site" / "tesserocr"
    package.mkdir(parents=True)
    error = "libtesseract.so.5: cannot open shared object file: No such file or directory"
    (package / "__init__.py").write_text(f"raise ImportError({error!r})")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("broken_package")
def test_a_library_that_is_missing_is_the_machine_s_trouble_and_said_before_the_first_page() -> None:
    with pytest.raises(HostError, match=r"ImportError: libtesseract\.so\.5"):
        read_pictures([drawn(*LINES)], WHOLE_PAGE, 200, LIBRARY)
    with pytest.raises(ConfigError, match=r"ocr\.engine: .*libtesseract\.so\.5.*ocr\.engine=program"):
        check_tesseract(LIBRARY)


def test_a_picture_is_handed_over_as_it_is(tmp_path: Path) -> None:
    page = drawn(*LINES)[:, ::2]  # every other column: not in one piece in memory
    tesseract._write_pgm(str(tmp_path / "page.pgm"), page)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "page.pgm")), page)
