"""Check that a Dask scheduler listens at an address, and that both sides use TLS or neither does.

A Client that fails to connect stays half initialised, and its clean-up, whenever the garbage collector runs it, can
wait forever for a lock that a later Client holds. So a Client is only made for a scheduler that answers.
"""

from __future__ import annotations

import socket
import ssl

from foliopress.configs.errors import ConfigError

_FIRST_WORD_S = 3.0
"""Longest wait for the first bytes of a scheduler without TLS; one with TLS waits for the client's."""
_FILES = (
    "set the files of the certificates with DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and "
    "…__TLS__CLIENT__KEY, or in ~/.config/dask"
)


def check_scheduler_address(address: str, wait_s: float) -> None:
    """Check who listens at a scheduler's address.

    Raises:
        OSError: If nobody listens.
        ConfigError: If only one side uses TLS.
        ValueError: If it is not an address.
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
        if scheme == "tcp" and not _sends_first(connection) and _has_tls(host, port, wait_s):
            raise ConfigError(f"cluster.scheduler: {address} requires TLS; use tls://{place}, and {_FILES}")
    if scheme == "tls" and not _has_tls(host, port, wait_s):
        raise ConfigError(f"cluster.scheduler: {address} does not use TLS; use tcp://{place} if you trust its network")


def _sends_first(connection: socket.socket) -> bool:
    """Return whether the other side sends something first, as a scheduler without TLS does."""
    connection.settimeout(_FIRST_WORD_S)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return False


def _has_tls(host: str, port: int, wait_s: float) -> bool:
    """Return whether the other side answers in TLS, even if it refuses the client."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=wait_s) as connection, anybody.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return error.reason not in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")
    except OSError:
        return False
