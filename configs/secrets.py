"""Secrets: what a text or an address may hold that must be neither written down nor said, and how it is taken out.

Settings keep theirs as `SecretStr`. This is for what others make, such as the error of a library, and for addresses
that a person typed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "…"

_LEAST_LETTERS = 6  # a shorter one would be found in half of all words
_ANYWHERE = r"password|passwd|passphrase|secret|token|credential|signature|authorization|connection_?string|x_api_key"
_BY_ITSELF = r"pass|pwd|sig|auth|sas|cookie|bearer|(?:private|access|api|account|session|shared|encryption)[_.-]?key"
_SOME = r"[\w.-]{0,80}"  # bounded: the time that a text takes stays in proportion to its length
_NAME = rf"(?:{_SOME}(?:{_ANYWHERE}){_SOME}|(?:{_SOME}[_.-])?(?:{_BY_ITSELF})s?(?:[_.-]{_SOME})?)"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<name>(?<![\w.-]){_NAME}(?:[\"']?\s*=\s*|[\"']\s*:\s*(?=[\"'])|:\s*(?=(?:basic|bearer|aws4)\b)))"
    r"(?P<value>\"[^\"]*\"|'[^']*'|(?:(?:basic|bearer)\s+)?[^\s\"',;&)\]}]+)",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.:-]{0,80}://[^\s\"'<>`]+", re.IGNORECASE)
_LINK_OF_CHAIN = re.compile(r"::(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_CONTAINER_BEFORE_HOST = ("abfs", "abfss")  # abfs://container@account.dfs.core.windows.net
_NO_PORT = re.compile(r":(?!\d*$)")

_kept: set[str] = set()


def is_secret_name(name: str) -> bool:
    """Return whether what is called so is likely to be secret.

    >>> [is_secret_name(name) for name in ("AWS_SECRET_ACCESS_KEY", "authToken", "sig", "design", "author")]
    [True, True, True, False, False]
    """
    return _SECRET_NAME.fullmatch(name) is not None


def keep_secret(value: str) -> None:
    """Have `hide` take a value out of every text of this process from now on."""
    if len(value) >= _LEAST_LETTERS:
        _kept.update((value, quote(value, safe="")))


def keep_secrets_of_environment() -> None:
    """Do so with each variable of the environment whose name says that it is secret."""
    for name, value in os.environ.items():
        if is_secret_name(name) and not os.path.exists(value):  # AWS_WEB_IDENTITY_TOKEN_FILE names a place
            keep_secret(value)


def hide(text: str) -> str:
    """Return a text without what is known to be secret, or looks it.

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
    """Return a URL without the user, password, query and fragment that it may carry; a path stays as it is.

    >>> without_password("https://me:secret@host:9000/x?sig=1"), without_password("scans/a@b?c")
    ('https://host:9000/x', 'scans/a@b?c')
    >>> without_password("zip://a.zip::https://me:secret@host/x"), without_password("https://me:se/cr@et@host/x")
    ('zip://a.zip::https://host/x', 'https://host/x')
    """
    return "::".join(_bare(link) for link in _LINK_OF_CHAIN.split(url))


def carries_password(url: str) -> bool:
    """Return whether a URL names a user or password, or has a query or fragment, where tokens and signatures stand.

    >>> [carries_password(url) for url in ("sftp://me:secret@host/x", "s3://bucket/a@b", "scans/a@b?c")]
    [True, False, False]
    >>> carries_password("az://scans?sig=abc"), carries_password("file:///scans/a?b=c")
    (True, False)
    """
    return without_password(url) != url


def without_secret_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of any kind as they may be written down: of what may hold a secret, only the names.

    >>> without_secret_values({"image": "foliopress", "auth": "hush", "env": {"A": "hush"}, "args": ["--x", "hush"]})
    {'image': 'foliopress', 'auth': '…', 'env': {'A': '…'}, 'args': ['…', '…']}
    """

    def told(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): HIDDEN for key in value}
        if isinstance(value, (list, tuple)):
            return [HIDDEN for _ in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return HIDDEN if is_secret_name(name) else hide(str(value))

    return {name: told(name, value) for name, value in options.items()}


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
    if "@" in rest and _NO_PORT.search(place):  # a password with a slash in it
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{scheme}://{rest}"
