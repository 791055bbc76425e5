"""Run Tesseract, by its library in a persistent process or by the installed program."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import IO, NamedTuple

import numpy as np
import psutil
import pytesseract

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import OcrSettings
from foliopress.tasks import child_processes
from foliopress.tasks.errors import HostError, PageError
from foliopress.tasks.host_errors import as_host_error, place

# One thread per process: 1.3 s a page instead of 6 to 8 s when several run at once.
os.environ["OMP_THREAD_LIMIT"] = "1"

WHOLE_PAGE, SINGLE_LINE = 3, 7
"""Tesseract's page segmentation modes."""

_TRIES_IF_KILLED = 3
_BY_SOMEBODY = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT)
"""Exit statuses of a program ended by a user or a service, for which no page is to blame."""
_FROM_OUTSIDE = (-signal.SIGKILL, *_BY_SOMEBODY)
"""The same, and SIGKILL by the kernel for lack of memory; a crash has another status."""
_WORD_LEVEL = 5  # in Tesseract's table: 1 is the page, 2 a block, 3 a paragraph, 4 a line
_UNASKED = (pytesseract.TesseractNotFoundError, OSError, subprocess.SubprocessError, SystemExit)
_WALL_CLOCK_SHARE = 10.0  # a process that takes ten times its limit by the wall clock hangs without working
_OF_THE_HOST = (
    "error while loading shared libraries",
    "Error opening data file",
    "couldn't load any languages",
    "std::bad_alloc",
    "Cannot allocate memory",
)
"""Messages of Tesseract about its installation or the machine, not about a page."""
_CANNOT_BE_STARTED = (126, 127)
"""Exit statuses of a program that the system could not load."""
_NOT_INSTALLED = "Tesseract is not installed; on Debian: apt-get install tesseract-ocr"


class Reading(NamedTuple):
    """A word of Tesseract's table: its line, its box in pixels of the image, its confidence (0 to 100)."""

    line: tuple[int, int, int]
    left: int
    top: int
    width: int
    height: int
    text: str
    confidence: float


class _Died(Exception):
    """Tesseract's process ended without a response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Late(Exception):
    """Tesseract exceeded its time limit."""


@dataclass
class TimeLimit:
    """Processor seconds that Tesseract may take, and those it has taken so far.

    Wall-clock time says nothing about the page: on a busy machine a process waits for its turn. It only ends a process
    that hangs without working, after ten times the limit.
    """

    processor_s: float
    wall_s: float
    spent_s: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, settings: OcrSettings, share: float = 1.0) -> TimeLimit:
        """Return the limit for a share of a page, 0 to 1; the wall-clock limit is always that of a whole page."""
        return cls(settings.timeout_s * share, _WALL_CLOCK_SHARE * settings.timeout_s)


def read_pictures(
    pictures: Sequence[np.ndarray],
    segmentation: int,
    dpi: int,
    settings: OcrSettings,
    limit: TimeLimit | None = None,
) -> list[list[Reading]]:
    """Return the words of each image, in Tesseract's reading order.

    A Tesseract that was ended from outside is restarted. The kernel sends SIGKILL to a process that takes more memory
    than there is, and the memory depends on the page: as a HostError such a page would block its shard for ever. So
    the page is kept, and every rerun retries it.

    Args:
        pictures: Each (height, width) uint8 grey, at least 3 pixels in each direction.
        segmentation: `WHOLE_PAGE` or `SINGLE_LINE`.
        dpi: Resolution given to Tesseract.
        limit: Time limit for all images, by default `settings.timeout_s`; updated with the time taken.

    Raises:
        PageError: If Tesseract does not finish in time (`ocr_timeout`), fails (`ocr_failed`) or is killed repeatedly
            (`ocr_killed`).
        ConfigError: If Tesseract is not installed.
        HostError: If this machine cannot start it or pass it an image, something it needs is missing here, or it is
            ended repeatedly by another signal than SIGKILL.
    """
    tables = _asked(
        pictures, _Question(settings.language, segmentation, dpi), settings, limit or TimeLimit.of(settings)
    )
    return [list(_words_of(table)) for table in tables]


class _Question(NamedTuple):
    """Parameters of a call to Tesseract."""

    language: str
    segmentation: int
    dpi: int


def _asked(
    pictures: Sequence[np.ndarray], question: _Question, settings: OcrSettings, limit: TimeLimit
) -> Sequence[str]:
    """Return Tesseract's table of each image."""
    with (
        as_host_error("reading a page with Tesseract"),
        tempfile.TemporaryDirectory(prefix="foliopress-ocr-") as folder,
    ):
        paths = [str(Path(folder) / f"{number}.pgm") for number in range(len(pictures))]
        for path, grey in zip(paths, pictures, strict=True):
            _write_pgm(path, grey)
        statuses: list[int] = []
        while len(statuses) < _TRIES_IF_KILLED:
            try:
                if settings.engine == "library" and has_library():
                    return _by_library(paths, question, limit)
                return _by_program(paths, question, limit)
            except _Late as error:
                raise PageError("ocr_timeout", f"OCR did not finish {error}; page kept whole") from error
            except _Died as error:
                if error.status not in _FROM_OUTSIDE:
                    raise PageError("ocr_failed", f"Tesseract ended with {error}; page kept whole") from error
                statuses.append(error.status)
    if found := next((status for status in statuses if status in _BY_SOMEBODY), None):
        name = signal.Signals(-found).name
        raise HostError(f"{place()}: Tesseract is repeatedly ended by {name}; find out by whom, and run again")
    times = f"{_TRIES_IF_KILLED} times, perhaps for lack of memory"
    raise PageError("ocr_killed", f"Tesseract was killed {times}; page kept whole")


def _write_pgm(path: str, grey: np.ndarray) -> None:
    """Write an image uncompressed; pytesseract would write a PNG first, which takes seconds on a large page.

    OpenCV would not report a full disk, and Tesseract would take the truncated file for the page.
    """
    height_px, width_px = grey.shape
    with open(path, "wb") as file:
        file.write(b"P5\n%d %d\n255\n" % (width_px, height_px))
        file.write(np.ascontiguousarray(grey).data)


def check_tesseract(settings: OcrSettings) -> str:
    """Return the version of the Tesseract in use.

    Raises:
        ConfigError: If Tesseract, or a language of `ocr.language`, is not installed.
    """
    for tries_left in reversed(range(_TRIES_IF_KILLED)):
        try:
            present = languages()
            version = str(pytesseract.get_tesseract_version())
            break
        except (*_UNASKED, ConfigError) as error:
            # pytesseract reports a missing program and a killed one alike
            if not tries_left or shutil.which(pytesseract.pytesseract.tesseract_cmd) is None:
                raise ConfigError(_NOT_INSTALLED) from error
    if missing := [code for code in settings.language.split("+") if code not in present]:
        raise ConfigError(
            f"ocr.language: Tesseract has no {' and no '.join(missing)}; installed are {', '.join(present)}"
        )
    if settings.engine == "library" and has_library():
        _check_library(settings)
        return f"tesserocr {metadata.version('tesserocr')}, data of {version}"
    return version


def _check_library(settings: OcrSettings) -> None:
    """Make the library load its language, so that no page waits for it.

    Raises:
        ConfigError: If it cannot.
    """
    try:
        _asked([], _Question(settings.language, WHOLE_PAGE, 200), settings, TimeLimit.of(settings))
    except (HostError, PageError) as error:
        raise ConfigError(f"ocr.engine: {error}; or use the program: ocr.engine=program") from error


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


def _by_program(paths: Sequence[str], question: _Question, limit: TimeLimit) -> list[str]:
    path, folder = paths[0], Path(paths[0]).parent
    if len(paths) > 1:  # one call, and one start of the program, reads a list of files
        path = str(folder / "pictures.txt")
        Path(path).write_text("\n".join(paths), encoding="utf-8")
    command = [pytesseract.pytesseract.tesseract_cmd, path, "stdout", "-l", question.language]
    command += ["--psm", str(question.segmentation), "--dpi", str(question.dpi), "-c", "tessedit_create_tsv=1", "tsv"]
    with (folder / "errors.txt").open("w+b") as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except (FileNotFoundError, PermissionError) as error:
            raise ConfigError(_NOT_INSTALLED) from error
        with _ended_unless_answered(process):
            with _Watch(process, limit) as watch:
                output = b"".join(iter(watch.read, b""))
            status = process.wait()
        errors.seek(0)
        if status:
            message = errors.read().decode(errors="replace").strip()
            if status in _CANNOT_BE_STARTED or any(words in message for words in _OF_THE_HOST):
                raise HostError(f"{place()}: Tesseract cannot be used: {message[:300] or f'exit code {status}'}")
            raise _Died(status, f"exit code {status}: {message[:200]}")
    assert process.stdout is not None
    process.stdout.close()
    table = output.decode("utf-8", "replace")
    return [table] if len(paths) == 1 else _parted(table, len(paths))


def _parted(table: str, n_pictures: int) -> list[str]:
    """Split a table of all images, numbered from 1, into one table per image."""
    rows: list[list[str]] = [[] for _ in range(n_pictures)]
    for row in table.splitlines():
        cells = row.split("\t", 2)
        if len(cells) == 3 and cells[1].isdigit():
            rows[int(cells[1]) - 1].append(row)
    return ["\n".join(own) for own in rows]


def _by_library(paths: Sequence[str], question: _Question, limit: TimeLimit) -> list[str]:
    request = {"language": question.language, "psm": question.segmentation, "dpi": question.dpi}
    try:
        answer = _library(os.getpid()).ask(json.dumps(request | {"pictures": list(paths)}), limit)
    except _Died as error:
        if error.status > 0:  # an error of the process itself: a page gets a response, or crashes the library
            raise HostError(f"{place()}: the process with Tesseract's library ended with {error}") from error
        raise
    if isinstance(answer, dict):
        if "trouble" in answer:
            raise HostError(f"{place()}: Tesseract's library cannot be used: {answer['trouble'][:300]}")
        raise PageError("ocr_failed", f"Tesseract: {answer['error'][:200]}; page kept whole")
    return answer


def _words_of(table: str) -> Iterator[Reading]:
    """Yield the words of Tesseract's TSV."""
    for row in table.splitlines():
        cells = row.split("\t")
        if len(cells) == 12 and cells[0] == str(_WORD_LEVEL) and cells[11].strip():
            block, paragraph, line, _, left, top, width, height = map(int, cells[2:10])
            place = (block, paragraph, line)
            yield Reading(place, left, top, width, height, cells[11].strip(), float(cells[10]))


@lru_cache(maxsize=1)
def _library(process_id: int) -> _Library:  # noqa: ARG001 - a fork needs its own
    return _Library()


class _Library:
    """The process with Tesseract's library, started on first use and restarted after its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: str, limit: TimeLimit) -> list[str] | dict[str, str]:
        """Return its response.

        Raises:
            _Late: If it does not respond in time; the process is ended then.
            _Died: If the process ends.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            with _ended_unless_answered(process), _Watch(process, limit) as watch:
                try:
                    process.stdin.write(request.encode() + b"\n")
                    process.stdin.flush()
                except BrokenPipeError:
                    raise _Died(process.wait(), f"exit code {process.wait()}") from None
                answer: list[str] | dict[str, str] = json.loads(_read_answer(watch))
            return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                child_processes.command("tasks.ocr.tesseract_worker", _tessdata()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": child_processes.search_path()},
            )
        return self._process


@contextmanager
def _ended_unless_answered(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process that did not respond: a late response must not be taken for the next one."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):
                pipe.close()
        raise


class _Watch:
    """Reads the output of a process within its time limit."""

    def __init__(self, process: subprocess.Popen[bytes], limit: TimeLimit) -> None:
        self._process, self._limit = process, limit
        self._latest = monotonic() + limit.wall_s
        self._info: psutil.Process | None = None
        with suppress(psutil.Error):
            self._info = psutil.Process(process.pid)
        self._before_s = self._processor_s()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.spent_s += self._taken_s()

    def read(self) -> bytes:
        """Return the next bytes, empty at the end.

        Raises:
            _Late: If none arrive in time.
        """
        pipe: IO[bytes] | None = self._process.stdout
        assert pipe is not None
        left_s = self._limit.processor_s - self._taken_s()
        while True:
            wall_s = self._latest - monotonic()
            # one thread cannot take more processor time than elapses
            ready, _, _ = select.select([pipe], [], [], max(0.0, min(left_s, wall_s)))
            if ready:
                return os.read(pipe.fileno(), 1 << 20)
            left_s = self._limit.processor_s - self._taken_s()
            if left_s <= 0:
                raise _Late(f"in {self._limit.processor_s:.3g} s of processor time")
            if wall_s <= 0:
                raise _Late(f"in {self._limit.wall_s:.3g} s")

    def some(self) -> bytes:
        """Return the next bytes of a process that has not ended.

        Raises:
            _Late: If none arrive in time.
            _Died: If the process ends.
        """
        data = self.read()
        if not data:
            raise _Died(self._process.wait(), f"exit code {self._process.wait()}")
        return data

    def _taken_s(self) -> float:
        return max(0.0, self._processor_s() - self._before_s)

    def _processor_s(self) -> float:
        """Return the processor seconds that the process has taken since its start."""
        if self._info is not None:
            with suppress(psutil.Error):
                times = self._info.cpu_times()
                return float(times.user + times.system)
        return 0.0


def _read_answer(watch: _Watch) -> bytes:
    held = b""
    while b"\n" not in held:
        held += watch.some()
    size, _, data = held.partition(b"\n")
    parts = [data]
    missing = int(size) - len(data)
    while missing > 0:
        parts.append(watch.some())
        missing -= len(parts[-1])
    return b"".join(parts)


@lru_cache(maxsize=1)
def _tessdata() -> str:
    """Return the folder of the installed program's language data.

    Raises:
        ConfigError: If Tesseract is not installed.
    """
    command = [pytesseract.pytesseract.tesseract_cmd, "--list-langs"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigError(_NOT_INSTALLED) from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(_NOT_INSTALLED) from error
    return done.stdout.split('"')[1]  # List of available languages in "/usr/share/…/tessdata/" (2):
