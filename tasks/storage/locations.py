"""Check the paths and URLs of SOURCE and DEST."""

from __future__ import annotations

from urllib.parse import urlsplit

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import carries_password, without_password

LOCAL_PROTOCOLS = ("file", "local", "memory")
BUCKET_PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Their URLs name a bucket; only the environment and the settings determine the server and the user."""
HOST_PROTOCOLS = ("adl", "hdfs", "oci", "oss", "sftp", "smb", "webdav", "webhdfs")
"""Their URLs name the server."""
PROTOCOLS = (*LOCAL_PROTOCOLS, *BUCKET_PROTOCOLS, *HOST_PROTOCOLS)
"""Stores in which objects can be listed, read and written. Other fsspec protocols (`http`, `github`, `zip`,
`reference`, caches and chains with `::`) are no stores of an archive, and may fetch or run what their URL says."""


def protocol_of(url: str) -> str:
    """Return the protocol of a location, `file` for a path.

    Raises:
        ConfigError: If a SOURCE or DEST cannot have it.

    >>> protocol_of("scans/a::b"), protocol_of("s3://bucket/scans")
    ('file', 's3')
    """
    protocol, separator, _ = url.partition("://")
    if not separator:
        if url.startswith("data:"):  # fsspec would treat it as a URL
            raise ConfigError("data: is no location; give a path (./data:…) or a URL")
        return "file"
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS if name not in LOCAL_PROTOCOLS)
        raise ConfigError(f"{without_password(url)}: fsspec cannot open {protocol}:// as a store; give a path, {known}")
    return protocol


def check_place(name: str, url: str) -> None:
    """Raise ConfigError if a location cannot be opened, or contains secrets that must not be recorded.

    Args:
        name: Role of the location: `SOURCE`, `DEST`.
        url: A path or URL.
    """
    if carries_password(url):
        raise ConfigError(
            f"{name} {without_password(url)}: the URL contains a user, a password, or a token after `?` or `#`, which "
            "Prefect and run.json would record; give them to fsspec by its configuration or FSSPEC_… variables"
        )
    protocol_of(url)


def has_host(url: str) -> bool:
    """Return whether the URL names the server.

    >>> has_host("s3://bucket/x"), has_host("webhdfs://169.254.169.254/x"), has_host("scans")
    (False, True, False)
    """
    protocol = protocol_of(url)
    return protocol in HOST_PROTOCOLS or (protocol.startswith("abfs") and "@" in urlsplit(url).netloc)
