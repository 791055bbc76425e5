"""Address: looks whether a Dask scheduler listens at one, and whether it and we both ask for TLS, or neither does.

A Client that fails to connect is left half-made, and its clean-up, which comes whenever the garbage collector runs, can
wait for ever for a lock that a later Client holds. So none is made in vain.
"""

from __future__ import annotations

import socket
import ssl

from foliopress.tasks.errors import ConfigError

_FIRST_WORD_S = 3.0
"""Seconds that a scheduler without TLS may take to send its first bytes; with TLS it waits for ours."""
_FILES = (
    "name the files of the certificates with DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and "
    "…__TLS__CLIENT__KEY, or in ~/.config/dask"
)


def check_scheduler_address(address: str, wait_s: float) -> None:
    """Look who listens at a scheduler's address.

    Raises:
        OSError: If nobody does.
        ConfigError: If only one side asks for TLS.
        ValueError: If it is no address.
    """
    from distributed.comm import parse_address, parse_host_port
    from distributed.comm.registry import get_backend
    from distributed.security import Security

    scheme, place = parse_address(address)
    get_backend(scheme)
    if scheme not in ("tcp", "tls", "ws", "wss"):
        return
    host, port = parse_host_port(place, 8786)
    has_files = Security().get_connection_args("client").get("ssl_context") is not None
    if scheme in ("tls", "wss") and not has_files:
        raise ConfigError(f"cluster.scheduler: {address} needs certificates, and there are none here; {_FILES}")
    with socket.create_connection((host, port), timeout=wait_s) as connection:
        if scheme == "tcp" and not _speaks(connection) and _has_tls(host, port, wait_s):
            raise ConfigError(f"cluster.scheduler: {address} asks for TLS; give tls://{place}, and {_FILES}")
    if scheme == "tls" and not _has_tls(host, port, wait_s):
        raise ConfigError(
            f"cluster.scheduler: {address} speaks no TLS; give tcp://{place} if its network is yours alone"
        )


def _speaks(connection: socket.socket) -> bool:
    """Return whether the other side says something unasked, as a scheduler without TLS does."""
    connection.settimeout(_FIRST_WORD_S)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return False


def _has_tls(host: str, port: int, wait_s: float) -> bool:
    """Return whether the other side answers in TLS, whatever it thinks of us."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=wait_s) as connection, anybody.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return error.reason not in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")
    except OSError:
        return False
