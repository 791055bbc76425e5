"""Serve a listing of any length: the part of S3 needed to list documents that do not exist."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 1000
"""Keys per response, as in S3."""

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_DAY = "2026-01-31T00:00:00.000Z"


@dataclass
class Listing:
    """Number of documents that the server lists; it may change while the server runs, as when new documents arrive."""

    endpoint_url: str
    n_documents: int


def key_of(number: int) -> str:
    """Return the key of a document; key order is number order.

    >>> key_of(1_234_567)
    'box 001234/001234567.jpg'
    """
    return f"box {number // 1000:06d}/{number:09d}.jpg"


def size_of(number: int) -> int:
    """Return the size of a document: 0.2 to 1.7 MB, always the same for a number."""
    return 200_000 + number * 7919 % 1_500_000


@contextmanager
def listing_server(n_documents: int) -> Iterator[Listing]:
    """Serve a bucket of any name on a free loopback port inside the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    listing = Listing(f"http://127.0.0.1:{server.server_address[1]}", n_documents)
    server.listing = listing  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield listing
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing: there are thousands of requests."""

    def do_GET(self) -> None:
        """Respond to a listing."""
        query = parse_qs(urlsplit(self.path).query)
        n_documents = self.server.listing.n_documents  # type: ignore[attr-defined]
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + PAGE, n_documents)
        items = "".join(map(_item, range(first, last)))
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < n_documents else ""
        truncated = "true" if more else "false"
        text = f"{_HEAD}<IsTruncated>{truncated}</IsTruncated>{more}{items}</ListBucketResult>".encode()
        self._answer(200, text)

    def do_HEAD(self) -> None:
        """Confirm that a listed document exists."""
        number = re.search(r"(\d{9})\.jpg", self.path)
        listed = self.server.listing.n_documents  # type: ignore[attr-defined]
        self._answer(200 if number and int(number[1]) < listed else 404, b"")

    def _answer(self, code: int, text: bytes) -> None:
        self.send_response_only(code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Sat, 31 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(text)


def _item(number: int) -> str:
    return (
        f"<Contents><Key>{key_of(number)}</Key><LastModified>{_DAY}</LastModified><ETag>&quot;{number:032x}&quot;</ETag>"
        f"<Size>{size_of(number)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
