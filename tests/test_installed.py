"""An installed Foliopress is one package, and what lies in the user's folder has no part in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.servers import free_port, wait_for_port
from tests.torture.outcome import outcome_of

ROOT = Path(__file__).resolve().parents[1]
HOSTILE_MODULES = (
    *("tasks", "model", "flows", "configs", "app", "deployments", "benchmarks", "tests"),
    *("logging", "json", "random", "types", "secrets", "queue", "statistics", "numbers", "platform", "code"),
    *("numpy", "cv2", "prefect", "dask", "distributed", "streamlit", "main", "server", "sitecustomize"),
)
HOSTILE_PACKAGES = ("PIL", "pyarrow", "multiprocessing", "encodings", "importlib")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True, capture_output=True)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, tracked):  # as the files are now, committed or not
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, copy]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel; the libraries it needs come from this one's site-packages."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    where = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    libraries = Path(where) / "libraries.pth"
    libraries.write_text(
        sysconfig.get_path("purelib") + "\n"
    )  # .pth files in there, of an editable one too, are unread
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel],
        check=True,
        capture_output=True,
        timeout=200,
    )
    return folder / "venv" / "bin" / "foliopress"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of files with the names of modules, each of which writes down that it was imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    code = f"open({str(tmp_path / 'imported.txt')!r}, 'a').write(__name__ + '\\n')\nraise SystemExit('hostile')\n"
    for name in HOSTILE_MODULES:
        (folder / f"{name}.py").write_text(code)
    for name in HOSTILE_PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    return folder


def environment(home: Path) -> Mapping[str, str]:
    left = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return left | {"HOME": str(home), "PREFECT_HOME": str(home / "prefect")}


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"foliopress", f"{wheel.name.split('-py3')[0]}.dist-info"}
    needed = ("configs/access.yaml", "model/weights/model.tflite", "app/viewer.js", "app/.streamlit/config.toml")
    assert {f"foliopress/{name}" for name in needed} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tasks/**/*.py")}
    assert {f"foliopress/{name}" for name in modules} <= set(names)


@pytest.mark.long
def test_an_installed_run_among_hostile_names_writes_what_a_checkout_writes(
    installed: Path, hostile: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    chance = np.random.default_rng(7)
    for number in range(3):
        pixels = np.full((900, 700), 235, np.uint8)
        for row_px in range(60, 840, 40):
            pixels[row_px : row_px + 12, 60:640:7] = chance.integers(20, 60, (12, 83))
        Image.fromarray(pixels).save(source / f"{number}.jpg", quality=92, dpi=(150, 150))
    here = subprocess.run(
        [sys.executable, "-P", "-m", "foliopress", "compress", source, tmp_path / "checkout", "--workers", "2"],
        env={**environment(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert here.returncode in (0, 3), here.stderr
    run = subprocess.run(
        [installed, "compress", source, tmp_path / "installed", "--workers", "2"],
        env=environment(tmp_path),
        cwd=hostile,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert run.returncode == here.returncode, run.stderr
    assert not (tmp_path / "imported.txt").exists(), (tmp_path / "imported.txt").read_text()
    found = outcome_of(str(tmp_path / "installed"))
    assert found.n_pages == 3
    assert outcome_of(str(tmp_path / "checkout")).differences(found) == []


@pytest.mark.long
def test_the_installed_window_opens_among_hostile_names(installed: Path, hostile: Path, tmp_path: Path) -> None:
    port = free_port()
    running = subprocess.Popen(
        [installed, "app", "--port", str(port), "--no-browser"],
        env=environment(tmp_path),
        cwd=hostile,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for_port(port, running)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and running.poll() is None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=20) as answer:
                if answer.status == 200:
                    break
        assert running.poll() is None
    finally:
        running.terminate()
        running.wait(30)
    assert not (tmp_path / "imported.txt").exists(), (tmp_path / "imported.txt").read_text()
