"""Run servers for tests: an S3 server and a Prefect server in their own processes, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import psutil

_LONGEST_START_S = 60.0

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}
"""Credentials for the server, which accepts any."""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server; `environment` is what a client or child process needs to reach it."""

    endpoint_url: str
    process_id: int

    @property
    def environment(self) -> dict[str, str]:
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}

    def client(self):
        """Return a plain botocore client, to inspect objects independently of the code under test."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def new_bucket(self) -> str:
        """Create an empty bucket and return its URL, `s3://…`."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


@contextmanager
def s3_server_process() -> Iterator[S3Server]:
    """Run an S3 server (moto) on a free loopback port inside the block.

    Raises:
        RuntimeError: If it does not respond in time; the message contains its output.
    """
    port = free_port()
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**quiet, **CREDENTIALS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield S3Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class PrefectServer:
    """A Prefect server in its own process, on a free loopback port."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        environment = {**os.environ, "PREFECT_HOME": str(folder / f"prefect-{port}"), "PREFECT_API_URL": self.url}
        with (folder / f"prefect-{port}.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                env=environment | {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
                stdout=output,
                stderr=output,
            )
        wait_for_port(port, self._process)

    def kill(self) -> None:
        """Kill it and all its processes."""
        if self._process.poll() is None:
            for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()


@contextmanager
def prefect_server_process(folder: Path) -> Iterator[PrefectServer]:
    """Run a Prefect server inside the block."""
    running = PrefectServer(folder)
    try:
        yield running
    finally:
        running.kill()


def free_port() -> int:
    """Return a loopback port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until one of our processes listens on a loopback port.

    Raises:
        RuntimeError: If it ends first, or does not listen in time.
    """
    latest = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < latest:
        if process.poll() is not None:
            raise RuntimeError(f"the server for port {port} ended with {process.returncode}; is all of it installed?")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"no server answered on port {port} in {_LONGEST_START_S:.0f} s")
