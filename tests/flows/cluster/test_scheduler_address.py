"""Test schedulers with and without TLS, addressed with and without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.flows.cluster.scheduler_address import check_scheduler_address
from tests.flows.cluster.test_real_cluster import ROOT, end_family
from tests.servers import free_port, wait_for_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def scheduler(*more: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    process = psutil.Popen([*command, *more], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    wait_for_port(port, process)
    yield f"127.0.0.1:{port}"
    end_family(process)


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    yield from scheduler()


@pytest.fixture(scope="module")
def secured(certificate: Path) -> Iterator[str]:
    files = {"ca-file": "cert", "cert": "cert", "key": "key"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}", str(certificate / f"{file}.pem"))]
    yield from scheduler("--protocol", "tls", *options)


@pytest.fixture
def with_files(certificate: Path) -> Iterator[None]:
    import dask

    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    place = "distributed.comm.tls"
    with dask.config.set({f"{place}.ca-file": cert, f"{place}.client.cert": cert, f"{place}.client.key": key}):
        yield


def test_a_scheduler_without_tls_is_found(plain: str) -> None:
    check_scheduler_address(f"tcp://{plain}", 5)
    check_scheduler_address(plain, 5)


def test_a_scheduler_that_asks_for_tls_says_so_to_whoever_comes_without(secured: str) -> None:
    with pytest.raises(ConfigError, match=f"requires TLS; use tls://{secured}, and set the files .*__TLS__CA_FILE"):
        check_scheduler_address(f"tcp://{secured}", 5)


def test_certificates_that_are_missing_here_are_named(secured: str) -> None:
    with pytest.raises(ConfigError, match=f"tls://{secured} needs certificates, and there are none here; set"):
        check_scheduler_address(f"tls://{secured}", 5)


@pytest.mark.usefixtures("with_files")
def test_with_certificates_tls_is_found_and_its_absence_too(secured: str, plain: str) -> None:
    check_scheduler_address(f"tls://{secured}", 5)
    with pytest.raises(ConfigError, match=f"tls://{plain} does not use TLS; use tcp://{plain} if"):
        check_scheduler_address(f"tls://{plain}", 5)
