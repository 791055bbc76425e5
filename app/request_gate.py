"""Check every request to the window, and add security headers to every response.

With DNS rebinding a page of another site can make its own host name resolve to 127.0.0.1, and send requests to the
window as if it were that site. The browser still sends the requested name as `Host`, and the page's origin as `Origin`.
Only host names the window was started with, and only its own pages, are accepted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from streamlit import config

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_WRONG_HOST, _WRONG_ORIGIN = 421, 403
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    # Streamlit's page needs inline styles and scripts, its charts `eval`. All of it is served from here, and nothing on
    # the page, not even an image in a text, can contact another machine.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
        "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'none'; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware that rejects requests with a wrong host name or from a page of another site.

    Args:
        app: Application that handles accepted requests.
        names: Accepted host names; by default Streamlit's `server.allowedHosts`, or loopback names if that is empty.

    Attributes:
        is_active: Whether this process has a gate; without one the window shows nothing.
    """

    is_active = False

    def __init__(self, app: Application, names: Callable[[], Iterable[str]] | None = None) -> None:
        self._app, self._names = app, names or _names_in_force
        Gate.is_active = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; lifespan events pass through."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope["headers"], self._names())
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # sent before accepting, so the client gets a 403
        else:
            status, words = refusal
            await _with_headers(send)(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": [(b"content-type", b"text/plain; charset=utf-8")],
                }
            )
            await send({"type": "http.response.body", "body": words.encode()})


def refuse(headers: Iterable[tuple[bytes, bytes]], names: Iterable[str]) -> tuple[int, str] | None:
    """Return status and text for a request to reject, None for one to accept.

    >>> refuse([(b"host", b"localhost:8501")], ["localhost"])
    >>> refuse([(b"host", b"evil.example:8501")], ["localhost"])[0]
    421
    >>> refuse([(b"host", b"localhost:8501"), (b"origin", b"http://evil.example")], ["localhost"])[0]
    403
    """
    found = [(name.lower(), value.decode("latin-1")) for name, value in headers]
    hosts = [value for name, value in found if name == b"host"]
    host = _parts(f"//{hosts[0]}") if len(hosts) == 1 else None
    if host is None or _name(host) not in {name.strip().lower().strip("[]").rstrip(".") for name in names}:
        return _WRONG_HOST, (
            "The window does not accept this host name. Open it at the address it was started with, or start it with "
            "--host-name and the name that browsers use.\n"
        )
    for value_sent in (value for name, value in found if name == b"origin"):
        origin = _parts(value_sent)
        if origin is None or not _is_same_place(origin, host):
            return _WRONG_ORIGIN, (
                "The window accepts requests from its own pages only. A proxy must forward the Host header unchanged.\n"
            )
    return None


def _names_in_force() -> Iterable[str]:
    return config.get_option("server.allowedHosts") or LOOPBACK


def _parts(url: str) -> SplitResult | None:
    """Return the parts of a URL that consists of scheme, host and port only; None for any other."""
    try:
        parts = urlsplit(url)
        is_host = parts.hostname is not None and parts.port != 0  # reading the port checks it
    except ValueError:
        return None
    return parts if is_host and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment) else None


def _name(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def _is_same_place(origin: SplitResult, host: SplitResult) -> bool:
    default = _DEFAULT_PORTS.get(origin.scheme)
    if default is None:  # chrome-extension://, null
        return False
    return (_name(origin), origin.port or default) == (_name(host), host.port or default)


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            kept = [
                (name, value) for name, value in message.get("headers", ()) if name.decode().lower() not in _HEADERS
            ]
            ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*kept, *ours]}
        await send(message)

    return sent
