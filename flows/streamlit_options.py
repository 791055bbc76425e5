"""Window: the options that `foliopress app` starts Streamlit with, whatever the user's own configuration says."""

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
        address: To listen on.
        port: Of the same.
        host_names: Further names that browsers may ask by.
        browser: Open one.

    Raises:
        ConfigError: If a name is none that a browser could send.
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
        "browser.serverAddress": shown,  # else Streamlit asks a server elsewhere for this machine's address
    }
    given = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    return [*given, *(f"--server.allowedHosts={name}" for name in names)]


def hosts(address: str, host_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names and addresses that browsers may ask the window by.

    On all addresses of the machine it answers under each of them; by a name, which another site's page may have made
    up, only if the user gives it.

    >>> hosts("127.0.0.1", ["scans.example.org"])
    ('localhost', '127.0.0.1', '::1', 'scans.example.org')
    """
    for name in host_names:
        if not _HOST_NAME.fullmatch(name) and not _is_address(name):
            raise ConfigError(f"--host-name {name}: give a name or an address, without port, as a browser shows it")
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
