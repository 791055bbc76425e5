"""Gate: what every request to the window must pass, and what every answer says to the browser.

A page of another site can have a name of its own resolve to 127.0.0.1 (DNS rebinding), and so ask the window as if it
were that site. The browser still sends the name it asked for as `Host`, and the page it comes from as `Origin`. Only
names that the window was started with pass, and only its own pages.
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
    # Streamlit's page needs inline styles and scripts, its charts `eval`. All of it comes from here, and nothing that
    # stands on the page, be it a picture in a text, can call another machine.
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
    """ASGI middleware: turns away what comes under a wrong name or from a page of another site.

    Args:
        app: What answers the others.
        names: Hosts that the window may be asked by; without it those of Streamlit's `server.allowedHosts`, and
            loopback where that names none.

    Attributes:
        stands: Whether there is a gate in this process; without one the window shows nothing.
    """

    is_active = False

    def __init__(self, app: Application, names: Callable[[], Iterable[str]] | None = None) -> None:
        self._app, self._names = app, names or _names_in_force
        Gate.is_active = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; lifespan events pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope["headers"], self._names())
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the answer is a 403
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
    """Return status and words for a request that must not pass, None for one that may.

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
            "The window does not answer under this name. Open it by the address that it was started with, or start it "
            "with the option --host-name and the name that browsers use.\n"
        )
    for came in (value for name, value in found if name == b"origin"):
        origin = _parts(came)
        if origin is None or not _is_same_place(origin, host):
            return _WRONG_ORIGIN, (
                "The window answers only its own pages. A proxy before it must pass on the header Host as it comes.\n"
            )
    return None


def _names_in_force() -> Iterable[str]:
    return config.get_option("server.allowedHosts") or LOOPBACK


def _parts(url: str) -> SplitResult | None:
    """Return the parts of what should be no more than a scheme, a host and a port; None if it is anything else."""
    try:
        parts = urlsplit(url)
        is_place = parts.hostname is not None and parts.port != 0  # reading the port checks it
    except ValueError:
        return None
    return parts if is_place and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment) else None


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
