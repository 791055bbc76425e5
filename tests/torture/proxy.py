"""Run a proxy between Foliopress and an S3 server that simulates the faults of networks and busy servers."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

Fault = Literal[
    "slow down",  # 503 SlowDown, not forwarded
    "internal error",  # 500 InternalError, not forwarded
    "reset",  # the connection is reset before the request is forwarded
    "upload cut",  # the connection is reset in the middle of the request body
    "answer lost",  # the request is executed, and the connection is reset before the response
    "body reset",  # the connection is reset in the middle of the response body
    "truncated",  # the connection ends in the middle of the response body, as if complete
    "stall",  # the request is executed, and the response takes longer than the client's timeout
    "body stall",  # the response stops in the middle of its body for longer than the client's timeout
    "slow link",  # 100 kB/s both ways
    "expired",  # 403 ExpiredToken
    "wrong secret",  # 403 SignatureDoesNotMatch
]
PASSING: tuple[Fault, ...] = (
    *("slow down", "internal error", "reset", "upload cut", "answer lost", "body reset", "truncated"),
    *("stall", "body stall", "slow link"),
)
"""Faults that a retry overcomes."""

CLIENT_TIMEOUT_S = 0.7
"""Value of `storage.timeout_s`, so that stalls take seconds, not minutes."""

_STALL_S = 1.5
_SLOW_BYTES_PER_S = 100_000

_ERRORS = {
    "slow down": (503, "SlowDown", "Please reduce your request rate."),
    "internal error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "expired": (403, "ExpiredToken", "The provided token has expired."),
    "wrong secret": (403, "SignatureDoesNotMatch", "The request signature does not match."),
}

Plan = Callable[[int, str, str], Fault | None]
"""Returns the fault of a request by its number (from 0), method, and path with query."""


@dataclass
class FaultProxy:
    """A running proxy; `plan` may be changed at any time, `met` counts the faults by name."""

    endpoint_url: str
    plan: Plan
    met: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            fault = self.plan(self.requests, method, path)
            self.requests += 1
            if fault is not None:
                self.met[fault] = self.met.get(fault, 0) + 1
        return fault


def no_faults(number: int, method: str, path: str) -> None:
    return None


def some_faults(seed: int, share: float) -> Plan:
    """Return a plan that disturbs a share of all requests, chosen by request number."""

    def plan(number: int, method: str, path: str) -> Fault | None:
        chance = np.random.default_rng([seed, number])
        return PASSING[int(chance.integers(len(PASSING)))] if chance.random() < share else None

    return plan


def from_request(first: int, fault: Fault) -> Plan:
    """Return a plan with the same fault for every request from number `first` on."""
    return lambda number, method, path: fault if number >= first else None


@contextmanager
def fault_proxy(upstream_url: str, plan: Plan = no_faults) -> Iterator[FaultProxy]:
    """Run a proxy to an S3 server on a free loopback port inside the block."""
    upstream = urlsplit(upstream_url)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}", plan)
    server.proxy = proxy  # type: ignore[attr-defined]
    server.upstream = (upstream.hostname, upstream.port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Broken(Exception):
    """The connection must end here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        fault = self.server.proxy.next_fault(self.command, self.path)  # type: ignore[attr-defined]
        try:
            self._serve(fault)
        except (_Broken, OSError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - names that http.server looks for

    def _serve(self, fault: Fault | None) -> None:
        if fault == "reset":
            self._reset()
        body = self._body(fault)
        if fault in _ERRORS:
            code, name, message = _ERRORS[fault]
            text = f"<?xml version='1.0'?><Error><Code>{name}</Code><Message>{message}</Message></Error>".encode()
            self._answer(code, {"Content-Type": "application/xml"}, text, None)
            return
        code, headers, data = self._ask(body)
        if fault == "answer lost":
            self._reset()
        if fault == "stall":
            time.sleep(_STALL_S)
            raise _Broken
        self._answer(code, headers, data, fault)

    def _body(self, fault: Fault | None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        size = int(self.headers.get("Content-Length", 0))
        if fault == "upload cut" and size > 1:
            self.rfile.read(size // 2)
            self._reset()
        if fault == "slow link":
            time.sleep(size / _SLOW_BYTES_PER_S)
        return self.rfile.read(size)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        host, port = self.server.upstream  # type: ignore[attr-defined]
        upstream = http.client.HTTPConnection(host, port, timeout=60)
        left_out = ("transfer-encoding", "content-length", "connection", "expect")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        try:
            upstream.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = upstream.getresponse()
            found = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
            length = answer.getheader("Content-Length")
            data = answer.read()
            if self.command == "HEAD" and length is not None:
                found["Content-Length"] = length
            return answer.status, found, data
        finally:
            upstream.close()

    def _answer(self, code: int, headers: dict[str, str], data: bytes, fault: Fault | None) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and code not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(data) // 2
        if fault == "slow link":
            for start in range(0, len(data), 10_000):
                self.wfile.write(data[start : start + 10_000])
                time.sleep(10_000 / _SLOW_BYTES_PER_S)
        elif fault in ("body reset", "truncated", "body stall"):
            self.wfile.write(data[:half])
            self.wfile.flush()
            if fault == "body reset":
                self._reset()
            if fault == "body stall":
                time.sleep(_STALL_S)
            raise _Broken
        else:
            self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection as a crash does: with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise _Broken
