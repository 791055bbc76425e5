"""Test against a real object store, Ceph: conditional writes, a gateway that dies, keys with any characters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.storage.store import Store
from tests.promises import NO_COLLISION, NOTHING_LOST, ONE_RUN, RERUN_COMPLETES
from tests.reliability import Tally
from tests.servers import CREDENTIALS, S3Server
from tests.torture.ceph import Ceph, ceph_cluster, is_installed
from tests.torture.outcome import outcome_of
from tests.torture.peace import Undisturbed
from tests.torture.runs import SMALL_SHARDS, Ended, Run
from tests.torture.test_kills import moments
from tests.torture.test_storage_faults import without_versions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

_WRITERS = 8


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    if not is_installed():
        pytest.skip("no Ceph on this machine: apt-get install ceph-mon ceph-osd radosgw ceph-common")
    with ceph_cluster(tmp_path_factory.mktemp("store") / "ceph") as running:
        yield running


def reached(server: S3Server, **more: object) -> StorageSettings:
    names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    keys = {setting: CREDENTIALS[name] for setting, name in names.items()}
    return StorageSettings(**{"endpoint_url": server.endpoint_url, "region": "us-east-1", **keys, **more})


def all_at_once(call: Callable[[int], bool]) -> int:
    """Call from several writers at the same moment; return the number of successful writes."""
    ready = threading.Barrier(_WRITERS)

    def write(number: int) -> bool:
        ready.wait()
        return call(number)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return sum(pool.map(write, range(_WRITERS)))


@pytest.mark.promise(ONE_RUN, "eight writers at once create, then replace, one object on a Ceph gateway")
def test_of_many_writers_at_once_one_comes_through(ceph: Ceph, trials: int, tally: Tally) -> None:
    store = Store(f"{ceph.server.new_bucket()}/x", reached(ceph.server))
    for trial in range(trials):
        key = f"lease {trial}"
        created = all_at_once(lambda number, key=key: store.create_bytes(key, b"%d" % number))
        tally.add([] if created == 1 else [f"{created} created {key!r}"])
        _, version = store.read_versioned(key)
        replaced = all_at_once(
            lambda number, key=key, version=version: store.replace_bytes(key, version, b"new %d" % number)
        )
        tally.add([] if replaced == 1 else [f"{replaced} replaced {key!r}"])
        assert store.read_bytes(key).startswith(b"new ")
    assert tally.lost == 0


@pytest.mark.promise(NO_COLLISION, "keys with control characters, newlines and Unicode's odd corners on a Ceph gateway")
def test_keys_come_back_as_they_went(ceph: Ceph, tally: Tally) -> None:
    store = Store(f"{ceph.server.new_bucket()}/in", reached(ceph.server))
    keys = [f"a{chr(code)}b.jpg" for code in (*range(1, 32), 127, 0x85, 0x2028, 0xFEFF, 0xFFFD, 0x1F4DC)]
    keys += ["..", ".", "x//y", "x/../y", "/x", "a%b", "a+b", "a b", "a\\b", "n" * 1000, "e\u0301", "\u00e9"]
    for number, key in enumerate(keys):
        store.write_bytes(key, b"%d" % number)
    listed = {found.key for found in store.list_objects()}
    for number, key in enumerate(keys):
        tally.add([] if key in listed and store.read_bytes(key) == b"%d" % number else [repr(key)], repr(key))
    assert listed == set(keys)
    assert tally.lost == 0


@pytest.mark.promise(RERUN_COMPLETES, "a Ceph gateway refuses a wrong secret key")
def test_a_wrong_secret_is_said(ceph: Ceph) -> None:
    with pytest.raises(ConfigError, match="the secret key is wrong"):
        Store(ceph.server.new_bucket(), reached(ceph.server, secret_access_key="not it")).check_writable()


class OnCeph:
    """An archive in a bucket, and the command over it."""

    def __init__(self, ceph: Ceph, undisturbed: Undisturbed, folder) -> None:
        self._ceph, self._undisturbed, self._folder = ceph, undisturbed, folder
        self.source = f"{ceph.server.new_bucket()}/in"
        store = Store(self.source, reached(ceph.server))
        for path in sorted(undisturbed.source.glob("**/*")):
            if path.is_file():
                store.write_bytes(str(path.relative_to(undisturbed.source)), path.read_bytes())

    def run(self, dest: str) -> Run:
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": self._ceph.server.endpoint_url}
        more = {"AWS_DEFAULT_REGION": "us-east-1"}
        return Run(self.source, dest, *SMALL_SHARDS, folder=self._folder, **environment, **more)

    def losses(self, dest: str) -> list[str]:
        found = outcome_of(dest, reached(self._ceph.server))
        return without_versions(self._undisturbed.outcome).differences(without_versions(found))

    def check(self, ended: Ended, dest: str, tally: Tally, what: str) -> None:
        """Rerun unless everything was done, and count all differences."""
        found = outcome_of(dest, reached(self._ceph.server)).objects
        whole = self._undisturbed.outcome.objects
        losses = [f"half-written before the rerun: {key}" for key in found if whole.get(key) != found[key]]
        if ended.returncode != self._undisturbed.exit_code or self.losses(dest):
            ended = self.run(dest).wait()
            tally.reruns += 1
            if ended.returncode != self._undisturbed.exit_code:
                losses.append(f"the rerun ended with {ended.returncode}: {ended.told[-1000:]}")
        tally.add(losses + self.losses(dest), what)

    def survive(self, seed: int, trials: int, trouble: Callable[[Run], None], tally: Tally, what: str) -> None:
        """Disturb runs at random moments, and check each outcome."""
        for trial, moment in moments(seed, max(1, trials // 2), self._undisturbed.seconds):
            dest = f"{self._ceph.server.new_bucket()}/out"
            run = self.run(dest)
            time.sleep(moment)
            trouble(run)
            ended = run.wait()
            assert "Traceback" not in ended.told
            self.check(ended, dest, tally, f"trial {trial}: {what} after {moment:.2f} s")
        assert (tally.survived, tally.lost) == (tally.tried, 0)


@pytest.mark.promise(NOTHING_LOST, "a Ceph gateway killed (SIGKILL), and back after two seconds")
def test_a_gateway_that_dies_and_comes_back(
    ceph: Ceph, undisturbed: Undisturbed, trials: int, tmp_path, tally: Tally
) -> None:
    def restart(_: Run) -> None:
        ceph.kill_gateway()
        time.sleep(2.0)
        ceph.start_gateway()

    OnCeph(ceph, undisturbed, tmp_path).survive(8, trials, restart, tally, "gateway killed")


@pytest.mark.promise(NOTHING_LOST, "driver killed (SIGKILL) while it writes to a Ceph gateway")
def test_a_killed_driver_on_a_real_store(
    ceph: Ceph, undisturbed: Undisturbed, trials: int, tmp_path, tally: Tally
) -> None:
    OnCeph(ceph, undisturbed, tmp_path).survive(9, trials, lambda run: run.process.kill(), tally, "driver killed")
