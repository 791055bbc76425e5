"""Test the command as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
Archive = Callable[..., Path]


def foliopress(*arguments: object, folder: Path, start: bool = False, **environment: str):
    """Run the command in a process of its own, with nothing of Prefect configured; or only start it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
    # settings of this machine's user must not play along
    clean |= {"PREFECT_HOME": str(folder / "no-prefect"), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)} | environment
    command = [sys.executable, "-m", "foliopress.flows.cli", *map(str, arguments)]
    if start:
        return subprocess.Popen(
            command,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # a suite that runs in the background ignores interrupts, and would hand that down
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=200, check=False)


def shards(dest: Path) -> set[Path]:
    return set((dest / "stats" / "pages").glob("*.parquet"))


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'prefect', 'distributed', 'dask', 'tensorflow', 'keras', 'pyarrow', 'numpy', 'cv2', 'fsspec'}"
    check = f"import foliopress.flows.cli, sys; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_prefect_sends_no_analytics_home(tmp_path: Path) -> None:
    check = (
        "import foliopress.flows.compress, prefect._internal.analytics.enabled as it; print(it.is_telemetry_enabled())"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "DO_NOT_TRACK")}
    found = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"


def test_help_names_every_option_of_the_main_job(tmp_path: Path) -> None:
    told = foliopress("compress", "--help", folder=tmp_path, COLUMNS="200").stdout
    options = (
        "--profile --set --include --exclude --keys --allow-empty --scheduler --workers --retry-failed --overwrite "
        "--json --log-file"
    )
    assert [option for option in options.split() if option not in told] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "encode.qualty=35"], "encode.qualty: no such setting, did you mean encode.quality"),
        (
            ["--set", "encode.codec=gif"],
            "encode.codec: 'gif' is not valid. Input should be 'avif', 'webp', 'jpeg', 'jp2' or 'jxl'",
        ),
        (["--profile", "acess"], "did you mean access?"),
        (["--workers", "0"], "cluster.workers: 0"),
    ],
)
def test_wrong_settings_end_with_2_and_one_clear_line_before_anything_is_started(
    arguments: list[str], words: str, archive: Archive, tmp_path: Path
) -> None:
    ended = foliopress("compress", archive("a.jpg"), tmp_path / "out", *arguments, folder=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    ended = foliopress("compress", tmp_path / "gone", tmp_path / "out", folder=tmp_path)
    assert ended.returncode == 2
    assert "there is no folder" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_bug_ends_with_1_and_one_line_that_names_the_log_with_the_traceback(archive: Archive, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    breaking = tmp_path / "breaking"
    breaking.mkdir()
    (breaking / "sitecustomize.py").write_text(
        "from foliopress.flows.run import run\n"
        "def broken(*_):\n"
        "    raise ZeroDivisionError('by design')\n"
        "run.check_places = broken\n"
    )
    ended = foliopress(
        "compress",
        archive("a.jpg"),
        tmp_path / "out",
        "--log-file",
        log,
        folder=tmp_path,
        PYTHONPATH=os.pathsep.join([str(breaking), str(ROOT)]),
    )
    assert ended.returncode == 1
    assert "the run broke: ZeroDivisionError: by design" in ended.stderr
    assert str(log) in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_command_that_is_done_ends_though_prefect_still_tries_to_reach_its_server(code: int) -> None:
    script = (
        "import sys, threading, time, foliopress.flows.cli as cli\n"
        "threading._register_atexit(time.sleep, 100)\n"  # as Prefect's queues wait for what is in them
        "cli._EXIT_WITHIN_S = 0.5\n"
        f"cli.app = lambda: (print('all is said', end=''), sys.exit({code}))\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (code, "all is said")


def test_json_is_all_that_stands_on_stdout(archive: Archive, tmp_path: Path) -> None:
    source = archive("a.jpg", "b.jpg")
    (source / "broken.jpg").write_bytes(b"broken")
    ended = foliopress("compress", source, tmp_path / "out", "--json", "--workers", 2, folder=tmp_path)
    assert ended.returncode == 3
    summary = json.loads(ended.stdout)
    assert (summary["exit_code"], summary["status"]) == (3, "finished")
    assert (summary["dest_totals"]["pages"], summary["dest_totals"]["failed"]) == (3, 1)
    assert "Traceback" not in ended.stderr


@pytest.mark.long
def test_a_run_that_is_killed_leaves_no_process_and_a_rerun_finishes_it(archive: Archive, tmp_path: Path) -> None:
    names = [f"p{number:02d}.jpg" for number in range(12)]
    source, dest = archive(*names), tmp_path / "out"
    command = ("compress", source, dest, "--set", "shard.max_documents=4", "--workers", 2)
    running = foliopress(*command, folder=tmp_path, start=True)
    try:
        wait_for(lambda: len(shards(dest)) >= 2 or running.poll() is not None, 120)
        children = psutil.Process(running.pid).children(recursive=True)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert children
    wait_for(lambda: not [child for child in children if child.is_running() and child.status() != "zombie"], 10)
    assert (dest / "runs" / "lease.json").exists()
    done = {path: path.stat().st_mtime_ns for path in shards(dest)}
    assert 0 < sum(pq.read_table(path).num_rows for path in done) < len(names)

    ended = foliopress(*command, "--json", folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (0, 0)
    summary = json.loads(ended.stdout)
    assert summary["shards"]["passed_over"] == len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    rows = [row for path in shards(dest) for row in pq.read_table(path).to_pylist()]
    assert sorted(row["document_key"] for row in rows) == names
    assert sorted(path.name for path in (dest / "pages").iterdir()) == [f"{name}.avif" for name in names]
    events = pq.read_table(dest / "evidence" / "events").to_pylist()
    assert sorted(event["document_key"] for event in events) == names
    assert len({event["run_id"] for event in events}) == 2  # that of the run that was killed, and of the one after it
    assert all("tesseract" in json.loads(event["versions"]) for event in events)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_ends_soon_gives_its_lease_back_and_says_so(
    number: signal.Signals, archive: Archive, tmp_path: Path
) -> None:
    source, dest = archive(*[f"p{number:02d}.jpg" for number in range(12)]), tmp_path / "out"
    running = foliopress(
        "compress", source, dest, "--set", "shard.max_documents=4", "--workers", 2, folder=tmp_path, start=True
    )
    wait_for(lambda: len(shards(dest)) >= 1 or running.poll() is not None, 120)
    running.send_signal(number)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted; run the same command again to continue" in output
    assert "Traceback" not in output
    assert not (dest / "runs" / "lease.json").exists()


def wait_for(happened: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.long  # Prefect tries again for half a minute
def test_a_prefect_server_that_gives_no_answer_is_named(archive: Callable[..., Path], tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    done = foliopress("compress", archive("a.jpg"), tmp_path / "out", folder=tmp_path, PREFECT_API_URL=url)
    assert done.returncode == 2
    assert url in done.stderr and "Connection refused" in done.stderr and "PREFECT_API_URL" in done.stderr
