"""Test that a missing reader, a closed terminal or a full disk does not affect a command's work."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.flows.host.logs import open_log
from foliopress.flows.views.progress import Progress
from tests.flows.test_cli import shards, wait_for

ROOT = Path(__file__).resolve().parents[3]
FOLIOPRESS = f"{sys.executable} -m foliopress.flows.cli"
Archive = Callable[..., Path]


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS", "PYTHONIO"))}
    return kept | {"PREFECT_HOME": str(folder / "none"), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)} | more


def in_shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line in bash; the exit code is that of the first command of a pipe."""
    script = f"{line}\nexit ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=surroundings(folder, **more),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def python(code: str) -> str:
    begin = "from foliopress.flows.host.streams import *; open_streams(); import sys; "
    return f"{sys.executable} -c {json.dumps(begin + code)}"


_MUCH = "[print(n, flush=True) for n in range(20000)]"


@pytest.mark.parametrize(
    ("line", "stdout", "stderr"),
    [
        (f"{python(_MUCH + '; sys.exit(3)')} | head -c 1", "0", ""),
        (f"(trap '' PIPE; {python(_MUCH + '; sys.exit(3)')} | head -c 1; exit ${{PIPESTATUS[0]}})", "0", ""),
        (f"{python('print(1); print(2, file=sys.stderr); sys.exit(3)')} >&-", "", "2\n"),
        (f"{python('print(1); print(2, file=sys.stderr); sys.exit(3)')} 2>&-", "1\n", ""),
        (f"{python('print(1); sys.exit(3)')} <&- >&- 2>&-", "", ""),
        (
            f"{python('print(1); sys.exit(3)')} > /dev/full",
            "",
            "foliopress: stdout cannot be written: No space left on device\n",
        ),
        (f"{python('print(1); print(2, file=sys.stderr); sys.exit(3)')} 2> /dev/full", "1\n", ""),
        (f"PYTHONIOENCODING=ascii {python('print(chr(233)); sys.exit(3)')}", "\\xe9\n", ""),
    ],
    ids=["head", "head, SIGPIPE ignored", "no stdout", "no stderr", "none", "full", "stderr full", "ascii"],
)
def test_saying_it_changes_no_exit_code(line: str, stdout: str, stderr: str, tmp_path: Path) -> None:
    ended = in_shell(line, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, stdout, stderr)


def test_a_file_that_is_opened_where_a_stream_was_closed_gets_none_of_its_lines(tmp_path: Path) -> None:
    code = "file = open('kept', 'w'); print('said'); print('cried', file=sys.stderr); file.write('written')"
    assert in_shell(f"{python(code)} >&- 2>&-", tmp_path).returncode == 0
    assert (tmp_path / "kept").read_text() == "written"


def test_a_stream_that_whoever_shares_it_set_to_block_not_is_waited_for(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    code = "from foliopress.flows.host.streams import *; open_streams(); [print('x' * 999) for _ in range(999)]"
    with subprocess.Popen([sys.executable, "-c", code], stdout=write, env=surroundings(tmp_path), cwd=ROOT) as running:
        os.close(write)
        time.sleep(0.5)
        with open(read, "rb") as pipe:
            assert len(pipe.read()) == 999 * 1000
    assert running.returncode == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, draw_page) -> Path:
    """A folder with `scans` and the `out` of a run; one key has non-ASCII letters."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "scans").mkdir()
    draw_page("Größe").save(folder / "scans" / "Größe.jpg", quality=92, dpi=(100, 100))
    (folder / "scans" / "größer.jpg").write_bytes(b"broken")
    ended = in_shell(f"{FOLIOPRESS} compress scans out --workers 1", folder)
    assert ended.returncode == 3, ended.stderr
    return folder


_COMMANDS = {
    "compress": ("compress scans out --workers 1 --json", 3),
    "report": ("report out --out report.html", 0),
    "bag": ("bag bags/data --json", 2),
    "sample": ("sample made", 0),
    "wrong settings": ("compress scans out --set no.such=1", 2),
    "no such option": ("compress --no-such-option", 2),
    "help": ("compress --help", 0),
}


@pytest.mark.long
@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_a_command_whose_reader_has_left_or_who_has_no_streams_ends_as_it_would_have(
    command: str, finished: Path
) -> None:
    line, code = _COMMANDS[command]
    ended = in_shell(f"{FOLIOPRESS} {line} 2>&1 | head -c 1 > /dev/null", finished)
    assert (ended.returncode, ended.stderr) == (code, "")
    ended = in_shell(f"{FOLIOPRESS} {line} >&- 2>&-", finished)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_json_is_json_in_any_encoding(finished: Path) -> None:
    (finished / "schöne").symlink_to("scans")
    ended = in_shell(f"{FOLIOPRESS} compress schöne out --workers 1 --json", finished, PYTHONIOENCODING="ascii")
    assert ended.returncode == 3, ended.stderr
    assert ended.stdout.isascii()
    assert json.loads(ended.stdout)["source"] == "schöne"


@pytest.mark.parametrize(
    ("command", "log", "words"),
    [
        ("compress scans out", "nowhere/run.log", "No such file or directory"),
        ("verify out", "scans", "Is a directory"),
        ("estimate scans", "made/file/run.log", "Not a directory"),
        ("bag out", "/dev/fd/77", "no such stream is open"),
    ],
    ids=["compress", "verify", "estimate", "bag"],
)
def test_a_log_that_cannot_be_written_is_a_wrong_setting(command: str, log: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").touch()
    ended = in_shell(f"{FOLIOPRESS} {command} --log-file {log}", tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert f"--log-file {log} cannot be written: {words}" in ended.stderr


@pytest.mark.parametrize(
    "log",
    [
        "/dev/stderr",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("/dev/stdout", "/dev/null", "/dev/full", "pipe", "pipe nobody reads")
        ),
    ],
)
def test_a_log_may_go_to_a_stream_a_pipe_or_a_device(log: str, finished: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = f"cat {pipe} > {tmp_path}/read & " if log == "pipe" else ""
    place = pipe if "pipe" in log else log
    line = f"{FOLIOPRESS} compress {finished}/scans {tmp_path}/out --workers 1 --log-file {place}"
    ended = in_shell(f"{reading}{line} > {tmp_path}/stdout 2> {tmp_path}/stderr", tmp_path)
    output = {name: (tmp_path / name).read_text() for name in ("stdout", "stderr")}
    assert (ended.returncode, "Traceback" in output["stderr"]) == (3, False), output
    assert "1 failed" in output["stdout"]
    where = {"/dev/stderr": "stderr", "/dev/stdout": "stdout", "pipe": "read"}.get(log)
    if where is not None:
        wait_for(lambda: "is committed" in (tmp_path / where).read_text(), 10)


def test_what_a_log_had_no_room_for_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    written: list[str] = []
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        (tmp_path / "full").symlink_to("/dev/full")
        monkeypatch.setattr(
            "foliopress.flows.host.logs._stream_of", lambda _: None
        )  # as if it were a file on a disk that is full
        with open_log(tmp_path / "full", "run", written.append):
            for _ in range(100):
                logging.getLogger("tests").warning("x" * 1000)
    finally:
        root.handlers[:], logging.raiseExceptions = handlers, True
        root.setLevel(level)
    assert capfd.readouterr() == ("", "")
    with (
        pytest.raises(ConfigError, match="cannot be written"),
        open_log(tmp_path / "no" / "log", "run", written.append),
    ):
        pass


def test_a_log_folder_that_somebody_else_made_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foliopress.flows.host.logs import new_log_file

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = new_log_file("run")
    assert first.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "theirs").mkdir()
    first.parent.rmdir()
    first.parent.symlink_to(tmp_path / "theirs")
    assert new_log_file("run").parent.resolve() not in (tmp_path / "theirs", first.parent)


class Terminal:
    """Records what is written to it, and reports that it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["dumb", "unknown", ""])
def test_on_a_terminal_without_a_cursor_progress_comes_in_lines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr("foliopress.flows.views.progress._LINE_EVERY_S", 0.05)
    terminal = Terminal()
    with Progress(terminal) as progress:  # type: ignore[arg-type]
        progress.page_done()
        wait_for(lambda: "1 pages" in terminal.text, 5)
    assert "\x1b" not in terminal.text


@pytest.mark.parametrize("columns", ["0", "1", "junk"])
def test_a_bar_is_drawn_without_colour_on_a_terminal_of_any_width(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    with Progress(terminal) as progress:  # type: ignore[arg-type]
        progress.say("a line [of] its own")
        progress.page_done()
    assert re.findall(r"\x1b\[[0-9;]*m", terminal.text) in ([], ["\x1b[0m"])


class Running:
    """A run in progress with its child processes, in its own session as after a log-in."""

    def __init__(self, source: Path, dest: Path, folder: Path, terminal: int | None = None, **more: object) -> None:
        output = subprocess.DEVNULL if terminal is None else terminal
        command = [sys.executable, "-m", "foliopress.flows.cli", "compress", str(source), str(dest), "--workers", "1"]
        self.process = subprocess.Popen(
            [*command, "--set", "shard.max_documents=2"],
            env=surroundings(folder, TERM="xterm"),
            stdout=output,
            stderr=output,
            start_new_session=True,
            **more,  # type: ignore[call-overload]
        )
        wait_for(lambda: len(shards(dest)) >= 1 or self.process.poll() is not None, 150)
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        assert self.children

    def ends(self, within_s: float) -> int:
        try:
            return self.process.wait(within_s)
        finally:
            self.process.kill()

    @property
    def left(self) -> list[psutil.Process]:
        return [child for child in self.children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def _deaf(*numbers: signal.Signals) -> Callable[[], None]:
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which a suite under nohup ignores
            signal.signal(number, signal.SIG_DFL)
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return prepare


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGHUP,),
        (signal.SIGINT, 0, signal.SIGINT),
        pytest.param((signal.SIGINT, 1.2, signal.SIGINT), marks=pytest.mark.long),
        pytest.param((signal.SIGTERM,), marks=pytest.mark.long),
    ],
    ids=["hangup", "one press heard twice", "pressed twice", "terminated"],
)
def test_an_interrupted_run_ends_soon_with_all_that_it_started(
    signals: tuple[float, ...], archive: Archive, tmp_path: Path
) -> None:
    source, dest = archive(*[f"p{number:02d}.jpg" for number in range(16)]), tmp_path / "out"
    running = Running(source, dest, tmp_path, preexec_fn=_deaf())
    begun = time.monotonic()
    for number in signals:
        if isinstance(number, signal.Signals):
            running.process.send_signal(number)
        else:
            time.sleep(number)
    is_pressed_twice = signals == (signal.SIGINT, 1.2, signal.SIGINT)
    # a shell says 130 for both; the second press may come when the run has ended and Python is about to
    assert running.ends(15) in ((130, -signal.SIGINT) if is_pressed_twice else (130,))
    wait_for(lambda: not running.left, max(0.1, 15 - (time.monotonic() - begun)))
    if not is_pressed_twice:
        assert not (dest / "runs" / "lease.json").exists()


def test_a_run_whose_terminal_is_closed_gives_its_lease_back(archive: Archive, tmp_path: Path) -> None:
    source, dest = archive(*[f"p{number:02d}.jpg" for number in range(16)]), tmp_path / "out"
    ours, theirs = pty.openpty()
    reading = threading.Thread(target=_read_all, args=(ours,), daemon=True)
    reading.start()
    running = Running(source, dest, tmp_path, terminal=theirs, preexec_fn=_deaf())
    os.close(theirs)
    os.close(ours)
    running.process.send_signal(signal.SIGHUP)  # as the shell that started it passes it on
    assert running.ends(15) == 130
    assert not (dest / "runs" / "lease.json").exists()


def _read_all(terminal: int) -> None:
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        return


def test_a_run_under_nohup_goes_on_when_its_session_ends(archive: Archive, tmp_path: Path) -> None:
    names = [f"p{number:02d}.jpg" for number in range(6)]
    source, dest = archive(*names), tmp_path / "out"
    running = Running(source, dest, tmp_path, preexec_fn=_deaf(signal.SIGHUP))
    os.killpg(running.process.pid, signal.SIGHUP)
    assert running.ends(150) == 0
    assert sum(pq.read_table(path).num_rows for path in shards(dest)) == len(names)
