"""Places: the kinds of path and URL that a SOURCE or DEST can have, and what none may hold."""

from __future__ import annotations

from urllib.parse import urlsplit

from foliopress.configs.secrets import carries_password, without_password
from foliopress.tasks.errors import ConfigError

LOCAL_PROTOCOLS = ("file", "local", "memory")
BUCKET_PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Their URLs name a bucket; which server is asked, and as whom, only the environment and the settings say."""
HOST_PROTOCOLS = ("adl", "hdfs", "oci", "oss", "sftp", "smb", "webdav", "webhdfs")
"""Their URLs name the server that is asked."""
PROTOCOLS = (*LOCAL_PROTOCOLS, *BUCKET_PROTOCOLS, *HOST_PROTOCOLS)
"""Stores in which objects can be listed, read and written. What else fsspec opens (`http`, `github`, `zip`,
`reference`, caches and chains with `::`) is no store of an archive, and may fetch or run what its URL says."""


def protocol_of(url: str) -> str:
    """Return the protocol of a place, `file` for a path.

    Raises:
        ConfigError: If it is none that a SOURCE or DEST can have.

    >>> protocol_of("scans/a::b"), protocol_of("s3://bucket/scans")
    ('file', 's3')
    """
    protocol, separator, _ = url.partition("://")
    if not separator:
        if url.startswith("data:"):  # fsspec would take it for a URL
            raise ConfigError("data: is no place; give a path (./data:…) or a URL")
        return "file"
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS if name not in LOCAL_PROTOCOLS)
        raise ConfigError(f"{without_password(url)}: fsspec cannot open {protocol}:// as a store; give a path, {known}")
    return protocol


def check_place(name: str, url: str) -> None:
    """Raise ConfigError if a place is of no kind that can be opened, or holds what must not be written down.

    Args:
        name: What the place is for: `SOURCE`, `DEST`.
        url: A path or URL.
    """
    if carries_password(url):
        raise ConfigError(
            f"{name} {without_password(url)}: the URL holds a user or password, or a token behind `?` or `#`, which "
            "Prefect and run.json would write down; give them to fsspec by its configuration or FSSPEC_… variables"
        )
    protocol_of(url)


def has_host(url: str) -> bool:
    """Return whether it is the URL that says which machine is asked.

    >>> has_host("s3://bucket/x"), has_host("webhdfs://169.254.169.254/x"), has_host("scans")
    (False, True, False)
    """
    protocol = protocol_of(url)
    return protocol in HOST_PROTOCOLS or (protocol.startswith("abfs") and "@" in urlsplit(url).netloc)
