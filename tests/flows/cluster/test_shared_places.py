"""Test workers that do not see the driver's SOURCE or DEST, with real workers and real mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings
from foliopress.flows.cluster.shared_places import SharedPlacesCheck, absolute_url, check_shared_places
from foliopress.flows.cluster.worker_facts import WorkerFacts, _answer, ask_workers
from foliopress.flows.steps.document_plan import PageJob
from foliopress.flows.steps.verify_steps import check_batch
from foliopress.model.scoring import load_scorer
from foliopress.tasks.storage.store import Store
from tests.flows.cluster.test_real_cluster import ROOT, end_family
from tests.flows.test_cli import foliopress
from tests.servers import free_port, wait_for_port

SETTINGS = Settings()
STORAGE = SETTINGS.storage


class Cluster:
    """A scheduler, and workers each of which may see the machine otherwise."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._workers = folder, []
        self.address = f"tcp://127.0.0.1:{(port := free_port())}"
        options = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.scheduler = self._start([sys.executable, "-m", "dask", "scheduler", *options])
        wait_for_port(port, self.scheduler)
        self.client = Client(self.address, set_as_default=False)

    def start_worker(self, name: str, mounts: str = "", cwd: Path = ROOT, **environment: str) -> str:
        """Start a worker, after a shell script has mounted something for it alone; return its address."""
        options = f"--nthreads 1 --no-dashboard --no-nanny --death-timeout 20 --name {name}"
        command = f"exec {sys.executable} -m dask worker {self.address} {options} --local-directory {self._folder}"
        if mounts and (os.geteuid() != 0 or shutil.which("unshare") is None):
            pytest.skip("only root may mount something for one process")
        private = ["unshare", "-m"] if mounts else []
        script = f"set -e; mount --make-rprivate /; {mounts}; {command}" if mounts else command
        process = self._start([*private, "bash", "-c", script], cwd=cwd, **environment)
        self._workers.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for address, told in self.client.scheduler_info(n_workers=-1)["workers"].items():
                if told["name"] == name:
                    return address
            if process.poll() is not None:
                pytest.skip(f"nothing can be mounted here: {self._output[-500:]}")
            time.sleep(0.05)
        raise AssertionError(self._output[-3000:])

    def end_workers(self) -> None:
        while self._workers:
            end_family(self._workers.pop())
        deadline = time.monotonic() + 30
        while self.client.scheduler_info(n_workers=-1)["workers"] and time.monotonic() < deadline:
            time.sleep(0.05)

    def end(self) -> None:
        self.end_workers()
        self.client.close()
        end_family(self.scheduler)

    @property
    def _output(self) -> str:
        return (self._folder / "cluster.txt").read_text()

    def _start(self, command: list[str], cwd: Path = ROOT, **environment: str) -> psutil.Popen:
        clean = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_THREAD_LIMIT": "1"} | environment
        with (self._folder / "cluster.txt").open("ab") as output:
            return psutil.Popen(command, env=clean, cwd=cwd, stdout=output, stderr=output)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.end()


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    yield running
    running.end_workers()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Store, Store]:
    """SOURCE, with a document, and DEST."""
    for name in ("scans", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "scans" / "a.jpg").write_bytes(os.urandom(20_000))
    return Store(str(tmp_path / "scans"), STORAGE), Store(str(tmp_path / "out"), STORAGE)


def files(store: Store) -> list[str]:
    return [str(path.relative_to(store.url)) for path in Path(store.url).rglob("*") if path.is_file()]


def job_of(source: Store, dest: Store, places_check: SharedPlacesCheck) -> PageJob:
    scorer = load_scorer(None, "litert-cpu")
    places = absolute_url(source.url), absolute_url(dest.url)
    return PageJob(
        *places,
        SETTINGS,
        "run",
        "shard",
        "settings",
        scorer.digest,
        scorer.name,
        shared_places=places_check.shared_places,
    )


def write_a_page(job: PageJob) -> None:
    job.dest.write_bytes("pages/a.avif", b"page")


def read_a_document(job: PageJob) -> bytes:
    return job.source.read_bytes("a.jpg")


@pytest.mark.long
def test_workers_that_see_both_places_say_what_they_are_and_leave_nothing(cluster: Cluster, places) -> None:
    source, dest = places
    cluster.start_worker("one")
    cluster.start_worker("two")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        facts = ask_workers(cluster.client, SETTINGS, places_check)
        assert files(dest) == [places_check.shared_places.token_key]  # the answers are read and gone
    assert isinstance(facts, WorkerFacts)
    assert facts.model_digest == load_scorer(None, "litert-cpu").digest
    assert files(dest) == []


NO_TOKEN = "does not see DEST {dest} as the run does: the run's token"
NO_DOCUMENT = "does not see SOURCE {source} as the run does: 'a.jpg' is missing there"
OVER_DEST = "mount -t tmpfs none {dest}"
COPY_OF_DEST = "mount -t tmpfs none {upper}; mkdir {upper}/u {upper}/w; " + (
    "mount -t overlay overlay -o lowerdir={dest},upperdir={upper}/u,workdir={upper}/w {dest}"
)
READ_ONLY_DEST = "mount --bind {dest} {dest}; mount -o remount,ro,bind {dest}"
OVER_SOURCE = "mount -t tmpfs none {source}"
OTHER_SOURCE = "mount -t tmpfs none {source}; head -c 20000 /dev/urandom >{source}/a.jpg"
SHORTER_SOURCE = "cp {source}/a.jpg {upper}/b; mount -t tmpfs none {source}; head -c 19999 {upper}/b >{source}/a.jpg"


@pytest.mark.parametrize(
    ("mounts", "said"),
    [
        pytest.param(OVER_DEST, NO_TOKEN, id="other dest"),
        pytest.param(COPY_OF_DEST, "does not see DEST {dest} as the run does: ", id="copy", marks=pytest.mark.long),
        pytest.param(READ_ONLY_DEST, "cannot write", id="read-only dest", marks=pytest.mark.long),
        pytest.param(OVER_SOURCE, NO_DOCUMENT, id="empty source"),
        pytest.param(OTHER_SOURCE, NO_DOCUMENT, id="other source", marks=pytest.mark.long),
        pytest.param(SHORTER_SOURCE, NO_DOCUMENT, id="shorter source", marks=pytest.mark.long),
    ],
)
def test_a_worker_that_sees_another_place_is_named_before_the_first_page(
    cluster: Cluster, places, tmp_path: Path, mounts: str, said: str
) -> None:
    source, dest = places
    (tmp_path / "upper").mkdir()
    names = {"source": source.url, "dest": dest.url, "upper": str(tmp_path / "upper")}
    cluster.start_worker("sees")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        ask_workers(cluster.client, SETTINGS, places_check)  # or its answer may come when all is over
        blind = cluster.start_worker("blind", mounts.format(**names))
        with pytest.raises(ConfigError) as caught:
            ask_workers(cluster.client, SETTINGS, places_check)
    assert said.format(**names) in str(caught.value)
    assert "cannot write" in said or (blind in str(caught.value) and "mount it at the same path" in str(caught.value))
    assert files(dest) == []


def test_a_worker_that_joins_later_touches_nothing_before_it_is_seen_that_it_sees_the_places(
    cluster: Cluster, places
) -> None:
    source, dest = places
    cluster.start_worker("sees")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        ask_workers(cluster.client, SETTINGS, places_check)
        job = job_of(source, dest, places_check)
        blind = cluster.start_worker("blind", OVER_DEST.format(dest=dest.url))
        for touch in (write_a_page, read_a_document):
            late = cluster.client.submit(touch, job, workers=[blind], pure=False)
            with pytest.raises(ConfigError, match=f"worker {blind} .* does not see DEST"):
                late.result(60)
        fine = cluster.start_worker("late")
        assert cluster.client.submit(read_a_document, job, workers=[fine], pure=False).result(60)
        places_check.check()
    assert files(dest) == []


def test_a_late_worker_that_writes_elsewhere_is_found_before_the_shard_is_committed(cluster: Cluster, places) -> None:
    source, dest = places

    def prove_and_hide(job: PageJob) -> None:
        job.source  # noqa: B018 - which proves
        for answer in Path(job.dest_url).glob("work/tokens/*/*"):
            if answer.name != "token":
                answer.unlink()  # as if it had been written to another disk

    late = cluster.start_worker("late")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        job = job_of(source, dest, places_check)
        cluster.client.submit(prove_and_hide, job, pure=False).result(60)
        with pytest.raises(
            ConfigError, match=f"worker {late} .*DEST .*the run does not find what the worker wrote there"
        ):
            places_check.check()


@pytest.mark.long
def test_a_worker_proves_itself_once(cluster: Cluster, places) -> None:
    source, dest = places
    cluster.start_worker("one")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        job = job_of(source, dest, places_check)
        for _ in range(5):
            cluster.client.submit(read_a_document, job, pure=False).result(60)
        assert len(files(dest)) == 2  # the token and one answer


def test_a_relative_dest_is_the_driver_s(
    cluster: Cluster, places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    cluster.start_worker("one", cwd=tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    source, dest = Store("scans", STORAGE), Store("out", STORAGE)
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        ask_workers(cluster.client, SETTINGS, places_check)
        cluster.client.submit(write_a_page, job_of(source, dest, places_check), pure=False).result(60)
    assert (tmp_path / "out" / "pages" / "a.avif").is_file()
    assert not list((tmp_path / "elsewhere").rglob("*.avif"))


@pytest.mark.long
def test_an_empty_source_has_nothing_to_prove(cluster: Cluster, places) -> None:
    source, dest = places
    (Path(source.url) / "a.jpg").unlink()
    cluster.start_worker("one")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        assert ask_workers(cluster.client, SETTINGS, places_check).scorer == "litert-cpu"


@pytest.mark.long
def test_a_source_that_changes_meanwhile_is_known_by_what_has_not(cluster: Cluster, places) -> None:
    source, dest = places
    (Path(source.url) / "b.jpg").write_bytes(b"second")
    cluster.start_worker("one")
    with SharedPlacesCheck(cluster.client, dest, source) as places_check:
        (Path(source.url) / "a.jpg").unlink()
        ask_workers(cluster.client, SETTINGS, places_check)


def test_a_worker_with_another_tesseract_is_refused(cluster: Cluster, places, tmp_path: Path) -> None:
    source, dest = places
    program, real = tmp_path / "bin" / "tesseract", shutil.which("tesseract")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "tesseract 4.9.9" && exit\nexec {real} "$@"\n')
    program.chmod(0o755)
    cluster.start_worker("one")
    cluster.start_worker("other", PATH=f"{program.parent}:{os.environ['PATH']}")
    with (
        SharedPlacesCheck(cluster.client, dest, source) as places_check,
        pytest.raises(ConfigError, match=r"has tesseract .*4\.9\.9|instead of .*4\.9\.9.* use one image"),
    ):
        ask_workers(cluster.client, SETTINGS, places_check)


@pytest.mark.long
def test_a_worker_without_room_for_temporary_files_is_named(cluster: Cluster, places, tmp_path: Path) -> None:
    source, dest = places
    (tmp_path / "tmp").mkdir()
    cluster.start_worker("full", f"mount -t tmpfs -o size=2m none {tmp_path}/tmp", TMPDIR=str(tmp_path / "tmp"))
    with (
        SharedPlacesCheck(cluster.client, dest, source) as places_check,
        pytest.raises(ConfigError, match=f"{tmp_path}/tmp, has 2 MB free"),
    ):
        ask_workers(cluster.client, SETTINGS, places_check)


@pytest.mark.long
def test_verify_is_refused_by_a_worker_that_sees_another_dest(cluster: Cluster, places) -> None:
    _, dest = places
    dest.write_bytes("stats/pages/0.parquet", b"rows")
    blind = cluster.start_worker("blind", OVER_DEST.format(dest=dest.url))

    def nothing_is_damaged(*_: object) -> list[object]:
        return []

    with SharedPlacesCheck(cluster.client, dest, None, writes=False) as places_check:
        assert files(dest) == ["stats/pages/0.parquet"]
        asked = cluster.client.submit(
            check_batch, places_check.shared_places, nothing_is_damaged, STORAGE, [], pure=False
        )
        with pytest.raises(ConfigError, match=f"worker {blind} .* does not see DEST"):
            asked.result(60)


def test_a_worker_without_foliopress_is_named() -> None:
    class Failed:
        def result(self) -> None:
            raise ModuleNotFoundError("No module named 'flows'")

    with pytest.raises(
        ConfigError, match=r"worker tcp://a:1 lacks a package: No module named 'flows'; install the same"
    ):
        _answer("tcp://a:1", Failed())


def test_without_a_cluster_there_is_nobody_to_tell(places, tmp_path: Path) -> None:
    class NoClient:
        def subscribe_topic(self, *_: object) -> None: ...
        def unsubscribe_topic(self, *_: object) -> None: ...

    source, dest = places
    with SharedPlacesCheck(NoClient(), dest, source) as places_check:
        check_shared_places(places_check.shared_places, STORAGE, SETTINGS.ocr)


@pytest.mark.long
def test_a_run_on_a_worker_that_sees_another_dest_ends_with_2_and_writes_no_page(
    cluster: Cluster, archive: Callable[..., Path], tmp_path: Path
) -> None:
    source, dest = archive("a.jpg", "b.jpg"), tmp_path / "out"
    dest.mkdir()
    blind = cluster.start_worker("blind", OVER_DEST.format(dest=dest))
    done: subprocess.CompletedProcess[str] = foliopress(
        "compress", source, dest, "--scheduler", cluster.address, folder=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert f"worker {blind}" in done.stderr and "does not see DEST" in done.stderr
    assert not list(dest.rglob("*.avif")) and not list(dest.rglob("*.parquet"))
