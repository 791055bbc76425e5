"""Run a small S3 server with scripted behaviour: like Amazon's, or with the deviations of other stores.

It holds one bucket, `scans`, in memory, accepts any signature, and records all requests.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

from foliopress.configs.settings import StorageSettings

BUCKET = "scans"

_NOT_THERE = "NoSuchKey", "The specified key does not exist."
_HELD = "PreconditionFailed", "At least one of the pre-conditions you specified did not hold."
_UNKNOWN = "NotImplemented", "A header you provided implies functionality that is not implemented."


class Request(NamedTuple):
    """A request: `key` is the object's, or empty for the bucket."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


class Reply(NamedTuple):
    """A reply."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody writes into it


class Stored(NamedTuple):
    """An object in the bucket."""

    data: bytes
    modified: datetime


@dataclass
class ScriptedS3:
    """A running server; its behaviour may be changed at any time."""

    endpoint_url: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    page_keys: int = 1000
    """Keys per listing response."""
    etag: Callable[[bytes], str | None] = lambda data: f'"{hashlib.md5(data).hexdigest()}"'  # noqa: E731, RUF100
    """Returns the ETag of some bytes, with its quotes; None omits it."""
    conditions: Literal["kept", "ignored", "unknown"] = "kept"
    """Whether `If-Match` and `If-None-Match` are obeyed, silently ignored, or refused with 501."""
    knows: Literal["both versions", "the first version", "the first version and says so"] = "both versions"
    """Supported listing versions: a store that knows the first only treats the second as the first, or refuses it."""
    gives_token: bool = True
    goes_on: bool = True
    """False: every listing response is the first page."""
    echoes: bool = False
    """Whether the start key of a listing page is repeated."""
    holds_prefix: bool = True
    """False: a listing's prefix is ignored, and returned empty."""
    order: Callable[[list[str]], list[str]] = sorted
    spaces: Literal["+", "%20", "not encoded"] = "+"
    """Encoding used for `encoding-type=url`."""
    script: Callable[[Request], Reply | None] = lambda request: None  # noqa: E731, RUF100
    """Called first; None leaves the reply to the server."""
    now: datetime = datetime(2026, 1, 31, 17, 59, tzinfo=UTC)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """The bucket's URL in Foliopress."""
        return f"s3://{BUCKET}"

    def storage(self, **more: object) -> StorageSettings:
        """Return settings that point to this server."""
        keys = {"access_key_id": "testkey", "secret_access_key": "testsecret", "region": "us-east-1"}
        return StorageSettings(**{"endpoint_url": self.endpoint_url, "retries": 1, "timeout_s": 20.0, **keys, **more})  # type: ignore[arg-type]

    def put(self, key: str, data: bytes = b"1") -> None:
        """Put an object, one minute later than the one before."""
        self.now += timedelta(minutes=1)
        self.objects[key] = Stored(data, self.now)

    def asked(self, method: str) -> list[Request]:
        """Return the requests with this method."""
        return [request for request in self.requests if request.method == method]

    def reply(self, request: Request, body: bytes) -> Reply:
        with self.lock:
            self.requests.append(request)
            scripted = self.script(request)
            if scripted is not None:
                return scripted
            if not request.key:
                return self._listing(request.query)
            does = {"GET": self._get, "HEAD": self._get, "PUT": self._put, "DELETE": self._delete}[request.method]
            return does(request, body)

    def _listing(self, query: dict[str, str]) -> Reply:
        is_second = query.get("list-type") == "2"
        if is_second and self.knows == "the first version and says so":
            return error(501, *_UNKNOWN)
        is_second = is_second and self.knows == "both versions"
        prefix = query.get("prefix", "")
        after = (query.get("continuation-token") or query.get("start-after")) if is_second else query.get("marker")
        if not self.goes_on:
            after = None
        keys = self.order([key for key in self.objects if key.startswith(prefix) or not self.holds_prefix])
        if after is not None:
            at = keys.index(after) if after in keys else len([key for key in keys if key < after]) - 1
            keys = keys[at if self.echoes else at + 1 :]
        is_truncated = len(keys) > self.page_keys
        keys = keys[: self.page_keys]
        encoded = query.get("encoding-type") == "url" and self.spaces != "not encoded"
        parts = [f"<Name>{BUCKET}</Name>", f"<Prefix>{self._text(prefix, encoded)}</Prefix>"]
        if not self.holds_prefix:
            parts[1] = "<Prefix/>"
        parts += ["<EncodingType>url</EncodingType>"] if encoded else []
        parts += [f"<IsTruncated>{'true' if is_truncated else 'false'}</IsTruncated>"]
        if is_truncated and is_second and self.gives_token:
            parts += [f"<NextContinuationToken>{escape(keys[-1])}</NextContinuationToken>"]
        for key in keys:
            data, modified = self.objects[key]
            etag = self.etag(data)
            parts += [
                f"<Contents><Key>{self._text(key, encoded)}</Key>",
                f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>",
                "" if etag is None else f"<ETag>{escape(etag)}</ETag>",
                f"<Size>{len(data)}</Size><Owner/><StorageClass>STANDARD</StorageClass></Contents>",
            ]
        return listing(*parts)

    def _text(self, key: str, encoded: bool) -> str:
        if not encoded:
            return escape(key)
        return quote_plus(key, safe="/") if self.spaces == "+" else quote(key, safe="/+")

    def _get(self, request: Request, _: bytes) -> Reply:
        if request.key not in self.objects:
            return error(404, *_NOT_THERE)
        data, modified = self.objects[request.key]
        headers = {"Last-Modified": format_datetime(modified, usegmt=True)}
        etag = self.etag(data)
        if etag is not None:
            headers["ETag"] = etag
        span = request.headers.get("range")
        if span is None:
            return Reply(200, data, headers)
        first, _, last = span.removeprefix("bytes=").partition("-")
        if int(first) >= len(data):
            return error(416, "InvalidRange", "The requested range is not satisfiable")
        return Reply(206, data[int(first) : int(last) + 1], headers)

    def _put(self, request: Request, body: bytes) -> Reply:
        wanted = {name: request.headers[name] for name in ("if-match", "if-none-match") if name in request.headers}
        if wanted and self.conditions == "unknown":
            return error(501, *_UNKNOWN)
        there = self.objects.get(request.key)
        if wanted and self.conditions == "kept":
            if "if-none-match" in wanted and there is not None:
                return error(412, *_HELD)
            if "if-match" in wanted and there is None:
                return error(404, *_NOT_THERE)
            if "if-match" in wanted and there is not None and self.etag(there.data) != wanted["if-match"]:
                return error(412, *_HELD)
        self.put(request.key, body)
        etag = self.etag(body)
        return Reply(200, b"", {} if etag is None else {"ETag": etag})

    def _delete(self, request: Request, _: bytes) -> Reply:
        self.objects.pop(request.key, None)
        return Reply(204)


def error(status: int, code: str, message: str, request_id: str = "4442587FB7D0A2F9") -> Reply:
    """Return an error in S3's format."""
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message><RequestId>{request_id}</RequestId></Error>"
    return Reply(status, text.encode(), {"Content-Type": "application/xml", "x-amz-request-id": request_id})


def listing(*parts: str) -> Reply:
    """Return a listing with these elements."""
    text = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(parts)}</ListBucketResult>'
    return Reply(200, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), {"Content-Type": "application/xml"})


@contextmanager
def scripted_s3(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedS3]:
    """Run a server on a free loopback port inside the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    s3 = ScriptedS3(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}")
    server.s3 = s3  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet, without delayed acknowledgements

    def log_message(self, *_: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        goes_on = super().handle_expect_100()
        self.wfile.flush()  # the client sends the body after this
        return goes_on

    def _handle(self) -> None:
        url = urlsplit(self.path)  # a proxy receives the whole URL
        path, query = url.path, url.query
        bucket, _, key = path.lstrip("/").partition("/") if not path.startswith("//") else ("", "", "")
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Request(self.command, unquote(key), dict(parse_qsl(query, keep_blank_values=True)), headers)
        s3: ScriptedS3 = self.server.s3  # type: ignore[attr-defined]
        known = bucket == BUCKET
        reply = s3.reply(asked, body) if known else error(404, "NoSuchBucket", "The specified bucket does not exist")
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815 - names that http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Content-Encoding") == "aws-chunked" or "chunked" in self.headers.get(
            "Transfer-Encoding", ""
        ):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
