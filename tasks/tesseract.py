"""Tesseract, by its library in a process that stays, or by the installed program. `tasks.ocr` says what is read."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import IO, NamedTuple

import cv2
import numpy as np
import pytesseract

from configs.settings import OcrSettings
from tasks.errors import ConfigError, PageError

# One thread a process: 1.3 s a page instead of 6 to 8 s where several run at once.
os.environ["OMP_THREAD_LIMIT"] = "1"

WHOLE_PAGE, SINGLE_LINE = 3, 7
"""Tesseract's page segmentation modes."""

_TRIES_IF_KILLED = 3
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""How a program ends that somebody ended, e.g. the kernel for want of memory; one that breaks ends otherwise."""
_WORD_LEVEL = 5  # in Tesseract's table: 1 is the page, 2 a block, 3 a paragraph, 4 a line
_UNASKED = (pytesseract.TesseractNotFoundError, OSError, subprocess.SubprocessError, SystemExit)
_NOT_INSTALLED = "Tesseract is not installed; on Debian: apt-get install tesseract-ocr"


class Reading(NamedTuple):
    """A word of Tesseract's table: its line, its box in pixels of the picture, its confidence (0 to 100)."""

    line: tuple[int, int, int]
    left: int
    top: int
    width: int
    height: int
    text: str
    confidence: float


class _Died(Exception):
    """Tesseract's process ended without an answer."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def read_pictures(
    pictures: Sequence[np.ndarray], segmentation: int, dpi: int, settings: OcrSettings
) -> list[list[Reading]]:
    """Return the words of each picture, in Tesseract's reading order.

    Args:
        pictures: Each (height, width) uint8 grey, at least 3 pixels each way.
        segmentation: `WHOLE_PAGE` or `SINGLE_LINE`.
        dpi: What Tesseract is told of their resolution.

    Raises:
        PageError: If Tesseract gives no answer in time (`ocr_timeout`), ends in an error (`ocr_failed`) or is killed
            again and again (`ocr_killed`).
        ConfigError: If Tesseract or the language is not installed.
    """
    # Handed over as uncompressed files: pytesseract would write a PNG first, seconds on a large page.
    with tempfile.TemporaryDirectory(prefix="foliopress-ocr-") as folder:
        paths = [str(Path(folder) / f"{number}.pgm") for number in range(len(pictures))]
        for path, grey in zip(paths, pictures, strict=True):
            cv2.imwrite(path, grey)
        for _ in range(_TRIES_IF_KILLED):
            try:
                if settings.engine == "library" and has_library():
                    return _by_library(paths, segmentation, dpi, settings)
                return _by_program(paths, segmentation, dpi, settings)
            except _Died as error:
                if error.status not in _FROM_OUTSIDE:
                    raise PageError("ocr_failed", f"Tesseract ended with {error}; page kept whole") from error
    times = f"{_TRIES_IF_KILLED} times, perhaps for want of memory"
    raise PageError("ocr_killed", f"Tesseract was killed {times}; page kept whole")


def check_tesseract(settings: OcrSettings) -> str:
    """Return the version of the Tesseract that reads.

    Raises:
        ConfigError: If Tesseract, or a language of `ocr.language`, is not installed.
    """
    for tries_left in reversed(range(_TRIES_IF_KILLED)):
        try:
            present = languages()
            version = str(pytesseract.get_tesseract_version())
            break
        except (*_UNASKED, ConfigError) as error:
            # pytesseract says the same of a program that is not there and of one that was killed
            if not tries_left or shutil.which(pytesseract.pytesseract.tesseract_cmd) is None:
                raise ConfigError(_NOT_INSTALLED) from error
    if missing := [code for code in settings.language.split("+") if code not in present]:
        raise ConfigError(
            f"ocr.language: Tesseract has no {' and no '.join(missing)}; installed are {', '.join(present)}"
        )
    if settings.engine == "library" and has_library():
        return f"tesserocr {metadata.version('tesserocr')}, data of {version}"
    return version


def languages() -> tuple[str, ...]:
    """Return the codes of the languages that are installed, in alphabetical order.

    Raises:
        ConfigError: If Tesseract is not installed.
    """
    try:
        return tuple(sorted(pytesseract.get_languages()))
    except _UNASKED as error:
        raise ConfigError(_NOT_INSTALLED) from error


@lru_cache(maxsize=1)
def has_library() -> bool:
    """Return whether the package with Tesseract's library is installed."""
    return importlib.util.find_spec("tesserocr") is not None


def _by_program(paths: Sequence[str], segmentation: int, dpi: int, settings: OcrSettings) -> list[list[Reading]]:
    path = paths[0]
    if len(paths) > 1:  # a list of files is one call and one start of the program
        path = str(Path(path).with_name("pictures.txt"))
        Path(path).write_text("\n".join(paths), encoding="utf-8")
    try:
        text: str = pytesseract.image_to_data(
            path, lang=settings.language, config=f"--psm {segmentation} --dpi {dpi}", timeout=settings.timeout_s
        )
    except pytesseract.TesseractNotFoundError as error:
        raise ConfigError(_NOT_INSTALLED) from error
    except pytesseract.TesseractError as error:
        raise _Died(error.status, str(error)[:200]) from error
    except RuntimeError as error:  # pytesseract's word for a time-out
        raise _no_answer(settings) from error
    found: list[list[Reading]] = [[] for _ in paths]
    for picture, reading in _words_of(text):
        found[picture - 1].append(reading)
    return found


def _by_library(paths: Sequence[str], segmentation: int, dpi: int, settings: OcrSettings) -> list[list[Reading]]:
    request = {"language": settings.language, "psm": segmentation, "dpi": dpi, "pictures": list(paths)}
    answer = _library(os.getpid()).ask(json.dumps(request), settings)
    if isinstance(answer, dict):
        raise PageError("ocr_failed", f"Tesseract: {answer['error'][:200]}; page kept whole")
    return [[reading for _, reading in _words_of(table)] for table in answer]


def _words_of(table: str) -> Iterator[tuple[int, Reading]]:
    """Yield the words of Tesseract's TSV, each with the number of its picture from 1."""
    for row in table.splitlines():
        cells = row.split("\t")
        if len(cells) == 12 and cells[0] == str(_WORD_LEVEL) and cells[11].strip():
            page, block, paragraph, line, _, left, top, width, height = map(int, cells[1:10])
            place = (block, paragraph, line)
            yield page, Reading(place, left, top, width, height, cells[11].strip(), float(cells[10]))


def _no_answer(settings: OcrSettings) -> PageError:
    return PageError("ocr_timeout", f"OCR gave no answer in {settings.timeout_s:g} s; page kept whole")


@lru_cache(maxsize=1)
def _library(process_id: int) -> _Library:  # noqa: ARG001 - a fork needs one of its own
    return _Library()


class _Library:
    """The process with Tesseract's library: started when it is first asked, and again after its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: str, settings: OcrSettings) -> list[str] | dict[str, str]:
        """Return its answer.

        Raises:
            PageError: If none comes in time; the process is ended then.
            _Died: If the process ends.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            with _ended_unless_answered(process):
                try:
                    process.stdin.write(request.encode() + b"\n")
                    process.stdin.flush()
                except BrokenPipeError:
                    raise _Died(process.wait(), "no answer") from None
                answer: list[str] | dict[str, str] = json.loads(_read_answer(process, settings))
            return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            root = str(Path(__file__).resolve().parents[1])
            search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.tesseract_process", _tessdata()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": search},
            )
        return self._process


@contextmanager
def _ended_unless_answered(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process that did not answer: what it says later must not be taken for the next answer."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        raise


def _read_answer(process: subprocess.Popen[bytes], settings: OcrSettings) -> bytes:
    assert process.stdout is not None
    latest = monotonic() + settings.timeout_s
    held = b""
    while b"\n" not in held:
        held += _some_bytes(process, process.stdout, latest, settings)
    size, _, data = held.partition(b"\n")
    parts = [data]
    missing = int(size) - len(data)
    while missing > 0:
        parts.append(_some_bytes(process, process.stdout, latest, settings))
        missing -= len(parts[-1])
    return b"".join(parts)


def _some_bytes(process: subprocess.Popen[bytes], pipe: IO[bytes], latest: float, settings: OcrSettings) -> bytes:
    ready, _, _ = select.select([pipe], [], [], max(0.0, latest - monotonic()))
    if not ready:
        raise _no_answer(settings)
    data = os.read(pipe.fileno(), 1 << 20)
    if not data:
        raise _Died(process.wait(), f"exit code {process.wait()}")
    return data


@lru_cache(maxsize=1)
def _tessdata() -> str:
    """Return the folder of the languages that the installed program knows.

    Raises:
        ConfigError: If Tesseract is not installed.
    """
    command = [pytesseract.pytesseract.tesseract_cmd, "--list-langs"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(_NOT_INSTALLED) from error
    return done.stdout.split('"')[1]  # List of available languages in "/usr/share/…/tessdata/" (2):
