"""Build the options with which `foliopress app` starts Streamlit; they override the user's configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import psutil

from foliopress.configs.errors import ConfigError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.IGNORECASE)


def streamlit_options(address: str, port: int, host_names: Sequence[str], browser: bool) -> list[str]:
    """Return the options of `streamlit run`.

    Args:
        address: Address to listen on.
        port: Port to listen on.
        host_names: Additional host names that browsers may use.
        browser: Open a browser.

    Raises:
        ConfigError: If a host name is invalid.
    """
    names = hosts(address, host_names)
    shown = next(iter(host_names), "localhost" if _is_wildcard(address) else address)
    options = {
        "server.address": address,
        "server.port": port,
        "server.headless": not browser,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": shown,  # else Streamlit asks an external server for this machine's address
    }
    given = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    return [*given, *(f"--server.allowedHosts={name}" for name in names)]


def hosts(address: str, host_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the host names and addresses under which the window answers.

    If it listens on all addresses of the machine, it answers under each of them. A name, which another site's page may
    have made up, counts only if the user gives it.

    >>> hosts("127.0.0.1", ["scans.example.org"])
    ('localhost', '127.0.0.1', '::1', 'scans.example.org')
    """
    for name in host_names:
        if not _HOST_NAME.fullmatch(name) and not _is_address(name):
            raise ConfigError(f"--host-name {name}: use a host name or an address, without port")
    found = dict.fromkeys([*_LOOPBACK, *(_own_addresses() if _is_wildcard(address) else (address,)), *host_names])
    return tuple(found)


def _is_wildcard(address: str) -> bool:
    return _is_address(address) and ipaddress.ip_address(address).is_unspecified


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _own_addresses() -> list[str]:
    held = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries]
    return [address for address in held if _is_address(address)]
