"""Detect secrets in texts and addresses, and remove them before they are recorded or shown.

Settings keep their own as `SecretStr`. This module covers texts from elsewhere, such as library errors, and addresses
typed by a person.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "…"

_MIN_LENGTH = 6  # a shorter one would occur in half of all words
_ANYWHERE = r"password|passwd|passphrase|secret|token|credential|signature|authorization|connection_?string|x_api_key"
_BY_ITSELF = r"pass|pwd|sig|auth|sas|cookie|bearer|(?:private|access|api|account|session|shared|encryption)[_.-]?key"
_SOME = r"[\w.-]{0,80}"  # bounded, so that matching takes time linear in the length of the text
_NAME = rf"(?:{_SOME}(?:{_ANYWHERE}){_SOME}|(?:{_SOME}[_.-])?(?:{_BY_ITSELF})s?(?:[_.-]{_SOME})?)"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<name>(?<![\w.-]){_NAME}(?:[\"']?\s*=\s*|[\"']\s*:\s*(?=[\"'])|:\s*(?=(?:basic|bearer|aws4)\b)))"
    r"(?P<value>\"[^\"]*\"|'[^']*'|(?:(?:basic|bearer)\s+)?[^\s\"',;&)\]}]+)",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.:-]{0,80}://[^\s\"'<>`]+", re.IGNORECASE)
_CHAIN_SEPARATOR = re.compile(r"::(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_CONTAINER_BEFORE_HOST = ("abfs", "abfss")  # abfs://container@account.dfs.core.windows.net
_NO_PORT = re.compile(r":(?!\d*$)")

_kept: set[str] = set()


def is_secret_name(name: str) -> bool:
    """Return whether a value with this name is likely to be secret.

    >>> [is_secret_name(name) for name in ("AWS_SECRET_ACCESS_KEY", "authToken", "sig", "design", "author")]
    [True, True, True, False, False]
    """
    return _SECRET_NAME.fullmatch(name) is not None


def keep_secret(value: str) -> None:
    """Make `hide` remove a value from every text of this process from now on."""
    if len(value) >= _MIN_LENGTH:
        _kept.update((value, quote(value, safe="")))


def keep_secrets_of_environment() -> None:
    """Make `hide` remove the values of environment variables with secret names."""
    for name, value in os.environ.items():
        if is_secret_name(name) and not os.path.exists(value):  # AWS_WEB_IDENTITY_TOKEN_FILE is a path
            keep_secret(value)


def hide(text: str) -> str:
    """Return a text with known and likely secrets removed.

    >>> hide("cannot reach https://me:hush@host/a?sig=abc#x")
    'cannot reach https://host/a'
    >>> hide("failed: aws_secret_access_key=abcdef, region=eu; Authorization: Bearer abc")
    'failed: aws_secret_access_key=…, region=eu; Authorization: …'
    """
    for value in sorted(_kept, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _URL.sub(lambda found: without_password(found[0]), text)
    return _ASSIGNED.sub(lambda found: found["name"] + HIDDEN, text)


def without_password(url: str) -> str:
    """Return a URL without its user, password, query and fragment; a path is returned unchanged.

    >>> without_password("https://me:secret@host:9000/x?sig=1"), without_password("scans/a@b?c")
    ('https://host:9000/x', 'scans/a@b?c')
    >>> without_password("zip://a.zip::https://me:secret@host/x"), without_password("https://me:se/cr@et@host/x")
    ('zip://a.zip::https://host/x', 'https://host/x')
    """
    return "::".join(_bare(part) for part in _CHAIN_SEPARATOR.split(url))


def carries_password(url: str) -> bool:
    """Return whether a URL has a user or password, or a query or fragment, which may hold tokens and signatures.

    >>> [carries_password(url) for url in ("sftp://me:secret@host/x", "s3://bucket/a@b", "scans/a@b?c")]
    [True, False, False]
    >>> carries_password("az://scans?sig=abc"), carries_password("file:///scans/a?b=c")
    (True, False)
    """
    return without_password(url) != url


def without_secret_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they may be recorded: names only, where a value may be secret.

    >>> without_secret_values({"image": "foliopress", "auth": "hush", "env": {"A": "hush"}, "args": ["--x", "hush"]})
    {'image': 'foliopress', 'auth': '…', 'env': {'A': '…'}, 'args': ['…', '…']}
    """

    def redact(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): HIDDEN for key in value}
        if isinstance(value, (list, tuple)):
            return [HIDDEN for _ in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return HIDDEN if is_secret_name(name) else hide(str(value))

    return {name: redact(name, value) for name, value in options.items()}


def _bare(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() in ("file", "local"):
        return url
    rest = rest.partition("#")[0].partition("?")[0]
    place, slash, path = rest.partition("/")
    user = place.rpartition("@")[0]
    if user and ":" not in user and scheme.lower() in _CONTAINER_BEFORE_HOST:
        return f"{scheme}://{rest}"
    if "@" in place:
        return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
    if "@" in rest and _NO_PORT.search(place):  # a password that contains a slash
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{scheme}://{rest}"
