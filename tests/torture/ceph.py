"""Run a real object store: a one-node Ceph with objects in memory and its S3 gateway, on loopback.

It needs the programs of Debian's `ceph-mon ceph-osd radosgw ceph-common`. Unlike the small server of the other tests it
checks signatures, enforces conditional writes and accepts keys with any characters.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import CREDENTIALS, S3Server, free_port, wait_for_port

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
_STEP_WAIT_S = 90.0

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
mon initial members = a
public network = 127.0.0.0/8
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
osd objectstore = memstore
memstore device bytes = 4294967296
log file = {folder}/$name.log
admin socket = {folder}/run/$name.asok
run dir = {folder}/run
keyring = {folder}/keyring
[mon.a]
mon data = {folder}/mon
[osd.0]
keyring = {folder}/osd/keyring
osd data = {folder}/osd
[client.rgw.a]
keyring = {folder}/rgw.keyring
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
"""


def is_installed() -> bool:
    return all(shutil.which(name) for name in PROGRAMS)


class Ceph:
    """A running Ceph; its gateway can be killed and restarted without losing objects."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._processes = folder, free_port(), []
        for name in ("mon", "osd", "run", "rgw"):
            (folder / name).mkdir(parents=True)
        text = _CONFIGURATION.format(fsid=uuid.uuid4(), mon_port=free_port(), port=self._port, folder=folder)
        (folder / "ceph.conf").write_text(text)
        self._gateway: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> S3Server:
        assert self._gateway is not None
        return S3Server(f"http://127.0.0.1:{self._port}", self._gateway.pid)

    def start(self) -> None:
        """Create the cluster and its user, which takes about fifteen seconds."""
        folder, keys = self._folder, self._folder / "keyring"
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        self._do("ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._do("ceph-authtool", keys, "--gen-key", "-n", "client.admin", *everything)
        self._do("ceph-authtool", "--create-keyring", folder / "rgw.keyring", "--gen-key", "-n", "client.rgw.a")
        configuration = (folder / "ceph.conf").read_text()
        fsid, address = (
            next(line.partition(" = ")[2] for line in configuration.splitlines() if line.startswith(start))
            for start in ("fsid", "mon host")
        )
        self._do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, folder / "monmap")
        self._do("ceph-mon", "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keys)
        self._run("ceph-mon", "-i", "a", "-f")
        disk = uuid.uuid4()
        self._do("ceph", "osd", "new", disk, "0")
        secret = self._do("ceph-authtool", "--gen-print-key").strip()
        self._do(
            "ceph-authtool", "--create-keyring", folder / "osd" / "keyring", "--name", "osd.0", "--add-key", secret
        )
        rights = ("mon", "allow *", "osd", "allow *")
        self._do("ceph", "auth", "add", "osd.0", *rights, "-i", folder / "osd" / "keyring")
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._run("ceph-osd", "-i", "0", "-f")
        self._do("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self._do("ceph", "auth", "add", "client.rgw.a", *rights, "-i", folder / "rgw.keyring")
        self.start_gateway()
        user, secret = CREDENTIALS.values()
        who = ("--uid", "t", "--display-name", "t", "--access-key", user, "--secret-key", secret)
        self._do("radosgw-admin", "user", "create", *who)

    def start_gateway(self) -> None:
        self._gateway = self._run("radosgw", "-n", "client.rgw.a", "--keyring", self._folder / "rgw.keyring", "-f")
        wait_for_port(self._port, self._gateway)

    def kill_gateway(self) -> None:
        """Kill the gateway; its clients are disconnected."""
        assert self._gateway is not None
        self._gateway.kill()
        self._gateway.wait()

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(10)

    def _do(self, program: str, *arguments: object) -> str:
        command = [program, "-c", str(self._folder / "ceph.conf"), *map(str, arguments)]
        if program in ("ceph-authtool", "monmaptool"):
            command[1:3] = []
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_STEP_WAIT_S, check=False)
        assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr[-2000:]}"
        return ended.stdout

    def _run(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.txt").open("ab") as output:
            process = subprocess.Popen(
                [program, "-c", str(self._folder / "ceph.conf"), *map(str, arguments)], stdout=output, stderr=output
            )
        self._processes.append(process)
        time.sleep(1.0)
        assert process.poll() is None, (self._folder / f"{program}.txt").read_text()[-2000:]
        return process


@contextmanager
def ceph_cluster(folder: Path) -> Iterator[Ceph]:
    """Run a Ceph inside the block."""
    running = Ceph(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
