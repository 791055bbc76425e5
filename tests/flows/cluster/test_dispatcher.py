"""Test the dispatcher on a Dask cluster, with page steps made for the tests."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ClusterSettings
from foliopress.flows.cluster import worker_watchdog
from foliopress.flows.cluster.cluster import ClusterLost, ClusterShape, open_cluster
from foliopress.flows.cluster.dispatcher import RunHooks, ShardDispatcher
from foliopress.flows.cluster.page_gate import ANY_WORKER, PageGate
from foliopress.flows.steps.document_plan import DocumentShape
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import HostError, StoreUnavailable
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA
from foliopress.tasks.storage.source_listing import Document
from tests.promises import FAILS_ALONE
from tests.torture.clusters import cluster

NO_WORDS, NO_TILES = WORDS_SCHEMA.empty_table(), TILES_SCHEMA.empty_table()

# A document's key is its script: `name:pages:what happens`. The job is a folder in which workers leave traces.


def script(key: str) -> tuple[str, int, str]:
    name, pages, what = key.split(":")
    return name, int(pages), what


def leave_trace(folder: str, name: str) -> int:
    """Note that something happened; return how often it has."""
    path = Path(folder) / name.replace(":", "_")
    with path.open("a") as file:
        file.write("x")
    return path.stat().st_size


def fetch_document(document: Document, job: str) -> Document:
    what = script(document.key)[2]
    if what == "store down":
        raise StoreUnavailable("the store gave no answer")
    if what == "no tesseract":
        raise ConfigError("Tesseract is not installed")
    if what == "disk full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/page")
    if what == "no files left":
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if what == "no memory left":
        raise MemoryError
    if what == "no package":
        import no_such_package  # type: ignore[import-not-found] # noqa: F401
    return document


def describe(source: Document) -> DocumentShape:
    _, pages, what = script(source.key)
    n_pages = 0 if what == "unreadable" else pages
    return DocumentShape(n_pages, (1_000_000,) * n_pages, None)


def prepare_page(source: Document, page_index: int, job: str) -> tuple[str, int]:
    what = script(source.key)[2]
    if what == "dies" and page_index == 0:
        leave_trace(job, "deaths")
        os._exit(9)
    if what == "dies twice" and leave_trace(job, source.key) <= 2:
        os._exit(9)
    if what == "hogs":
        held = [b"x" * 50_000_000 for _ in range(12)]  # 600 MB
        time.sleep(60)
        assert held
    if what == "leaks":
        import builtins

        import psutil

        limit = 400 * 2**20
        builtins.leak = b"x" * (limit * 87 // 100 - psutil.Process().memory_info().rss)  # type: ignore[attr-defined]
    if what == "breaks":
        raise ValueError("a bug in a step")
    time.sleep(0.02)
    return source.key, page_index


def scoring_input(prepared: tuple[str, int]) -> tuple[str, int]:
    return prepared


def score_pages(inputs: list[tuple[str, int]], job: str) -> list[str]:
    leave_trace(job, f"batch-{len(inputs)}")
    if any(script(key)[2] == "unscorable" for key, _ in inputs):
        raise RuntimeError("the network choked")
    return [f"scores of {key} {page_index}" for key, page_index in inputs]


def finish_page(prepared: tuple[str, int], scores: str, source: Document, job: str) -> tuple[int, str]:
    assert prepared[0] == source.key
    return prepared[1], scores


def store_document(source: Document, finished: list[tuple[int, str]], job: str) -> DocumentResult:
    return DocumentResult(
        [{"document_key": source.key, "page_index": number, "scores": scores} for number, scores in finished]
        or [{"document_key": source.key, "page_index": 0, "status": "failed", "reason": "unreadable"}],
        NO_WORDS,
        NO_TILES,
    )


def score_on_gpu_worker(inputs: list[tuple[str, int]], job: str) -> list[str]:
    from distributed import get_worker

    return [str(get_worker().state.total_resources) for _ in inputs]


def fail_document(document: Document, job: str, reason: str, message: str, n_pages: int) -> DocumentResult:
    return DocumentResult([{"document_key": document.key, "reason": reason, "message": message}], NO_WORDS, NO_TILES)


STEPS = SimpleNamespace(
    fetch_document=fetch_document,
    describe=describe,
    prepare_page=prepare_page,
    scoring_input=scoring_input,
    score_pages=score_pages,
    finish_page=finish_page,
    store_document=store_document,
    fail_document=fail_document,
)


@pytest.fixture(scope="module", autouse=True)
def sent_by_value() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    with open_cluster(ClusterSettings(workers=2), None) as client:
        yield client


@pytest.fixture(scope="module")
def gpu_client() -> Iterator[object]:
    """Of a cluster of two workers, one of which offers a GPU."""
    from distributed import Client, Nanny, Scheduler, SpecCluster

    def worker(**resources: float) -> dict[str, object]:
        return {"cls": Nanny, "options": {"nthreads": 1, "host": "127.0.0.1", "resources": resources}}

    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with (
        SpecCluster(workers={0: worker(GPU=1), 1: worker()}, scheduler=scheduler) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def roomy(client, pages_per_worker: int) -> PageGate:
    """A gate that only counts pages."""
    shape = ClusterShape(client)
    return PageGate(lambda: shape.workers, pages_per_worker, 10**9)


def compress(client, keys: list[str], folder: Path, **options) -> dict[str, list[dict[str, object]]]:
    shape = ClusterShape(client)
    gate = options.pop("gate", None) or PageGate(lambda: shape.workers, 2, 150_000_000)
    dispatcher = ShardDispatcher(shape, gate, options.pop("batch", 4), RunHooks(**options), STEPS)
    documents = [Document(key, 1000, "1") for key in keys]
    found = [result.pages for result in dispatcher.compress(documents, str(folder))]
    assert gate.is_empty
    rows = {str(pages[0]["document_key"]): pages for pages in found}
    assert len(rows) == len(found) == len(keys)
    return rows


def test_every_page_of_every_document_comes_back_once_with_its_own_scores(client, tmp_path: Path) -> None:
    keys = [f"doc{number}:{number % 4 + 1}:fine" for number in range(12)] + ["none:1:unreadable"]
    done = []
    rows = compress(client, keys, tmp_path, page_done=lambda: done.append(1))
    for key in keys[:-1]:
        expected = [
            {"document_key": key, "page_index": n, "scores": f"scores of {key} {n}"} for n in range(script(key)[1])
        ]
        assert rows[key] == expected
    assert rows["none:1:unreadable"][0]["reason"] == "unreadable"
    assert len(done) == sum(script(key)[1] for key in keys[:-1]) + 1


def test_a_gpu_scores_pages_together_but_never_more_than_allowed(gpu_client, tmp_path: Path) -> None:
    compress(gpu_client, ["book:12:fine"], tmp_path, batch=3, gate=roomy(gpu_client, 6))
    sizes = {int(path.name.partition("-")[2]): path.stat().st_size for path in tmp_path.glob("batch-*")}
    assert max(sizes) <= 3
    assert sum(size * count for size, count in sizes.items()) == 12


ONE_TASK = ["run_document"]
LONG_WAY = ["fetch_document", "describe", "run_page", "store_document"]


@pytest.mark.parametrize(
    ("document", "pixels", "tasks"),
    [
        (Document("page:1:fine", 1000, "1"), 2_000_000, ONE_TASK),
        (Document("nothing:1:unreadable", 1000, "1"), 2_000_000, ONE_TASK),
        (Document("large page:1:fine", 1000, "1"), 1_999_999, [*ONE_TASK, LONG_WAY[0], *LONG_WAY[2:]]),
        (Document("book:1:fine", 2**25, "1"), 2_000_000, LONG_WAY),
        (
            Document("leaflet:2:fine", 1000, "1"),
            2_000_000,
            [*ONE_TASK, "fetch_document", *["run_page"] * 2, "store_document"],
        ),
    ],
    ids=["page", "nothing", "large page", "large document", "leaflet"],
)
def test_where_no_worker_has_a_gpu_a_document_of_one_page_is_one_task(
    client, document, pixels, tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, done = [], []
    submit, shape = client.submit, ClusterShape(client)

    def noted(function, *arguments, **options):
        seen.append(function.__name__)
        return submit(function, *arguments, **options)

    monkeypatch.setattr(client, "submit", noted)
    gate = PageGate(lambda: shape.workers, 2, pixels)
    dispatcher = ShardDispatcher(shape, gate, 4, RunHooks(page_done=lambda: done.append(1)), STEPS)
    (result,) = dispatcher.compress([document], str(tmp_path))
    _, n_pages, what = script(document.key)
    expected = [None] if what == "unreadable" else [f"scores of {document.key} {number}" for number in range(n_pages)]
    assert [row.get("scores") for row in result.pages] == expected
    assert seen == tasks and len(done) == len(expected) and gate.is_empty


@pytest.mark.promise(FAILS_ALONE, "its worker's process ends on it, always")
def test_a_document_that_kills_its_worker_fails_alone_and_its_neighbours_are_unharmed(client, tmp_path: Path) -> None:
    keys = [f"good{number}:2:fine" for number in range(6)]
    rows = compress(client, [*keys[:3], "bad:2:dies", *keys[3:]], tmp_path)
    assert rows["bad:2:dies"][0]["reason"] == "worker_killed"
    assert all([row["scores"] for row in rows[key]] for key in keys)
    assert (tmp_path / "deaths").stat().st_size <= 4  # twice among others, twice alone


@pytest.mark.promise(FAILS_ALONE, "it takes more memory than its worker may")
def test_a_document_that_takes_more_memory_than_its_worker_may_fails_and_its_neighbours_do_not(tmp_path: Path) -> None:
    keys = [f"good{number}:1:fine" for number in range(4)]
    with open_cluster(ClusterSettings(workers=2, memory_per_worker="400MiB"), None) as client:
        rows = compress(client, [*keys[:2], "big:1:hogs", *keys[2:]], tmp_path)
    assert rows["big:1:hogs"][0]["reason"] == "worker_killed"
    assert all(rows[key][0]["scores"] for key in keys)


@pytest.mark.promise(FAILS_ALONE, "it leaves its worker without memory for others")
def test_a_worker_that_is_out_of_memory_and_idle_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_watchdog, "IDLE_OUT_OF_MEMORY_S", 2.0)
    with open_cluster(ClusterSettings(workers=1, memory_per_worker="400MiB"), None) as client:
        rows = compress(client, ["leaky:1:leaks", *(f"good{number}:1:fine" for number in range(4))], tmp_path)
    assert all(row["scores"] for pages in rows.values() for row in pages)
    assert "Pausing worker" in capfd.readouterr().err


@pytest.mark.promise(FAILS_ALONE, "its worker's process ends on it, twice")
def test_a_document_whose_worker_was_killed_by_something_else_is_done_after_all(client, tmp_path: Path) -> None:
    rows = compress(client, ["unlucky:1:dies twice", "good:1:fine"], tmp_path)
    assert rows["unlucky:1:dies twice"][0]["scores"] == "scores of unlucky:1:dies twice 0"


@pytest.mark.promise(FAILS_ALONE, "the process of the only worker ends on it, twice")
def test_a_document_whose_worker_was_the_only_one_is_done_by_the_one_that_comes_in_its_place(tmp_path: Path) -> None:
    with open_cluster(ClusterSettings(workers=1), None) as client:
        rows = compress(client, ["unlucky:1:dies twice", "leaflet:3:fine"], tmp_path)
    assert all(row["scores"] for pages in rows.values() for row in pages)


@pytest.mark.slow
@pytest.mark.promise(FAILS_ALONE, "its workers die again and again for half a minute")
def test_workers_that_die_for_longer_than_dask_waits_for_them_come_back_all_the_same(tmp_path: Path) -> None:
    with open_cluster(ClusterSettings(workers=2), None) as client:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            killers = [client.submit(os._exit, 9, pure=False) for _ in range(2)]
            time.sleep(0.3)
            client.cancel(killers, force=True)
        rows = compress(client, [f"good{number}:2:fine" for number in range(4)], tmp_path)
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    assert all(row["scores"] for pages in rows.values() for row in pages)


def test_a_cluster_that_is_left_without_any_worker_ends_the_shard(tmp_path: Path) -> None:
    from distributed import Client, Nanny, Scheduler, SpecCluster

    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    worker = {"cls": Nanny, "options": {"nthreads": 1, "host": "127.0.0.1"}}
    with (
        SpecCluster(workers={0: worker}, scheduler=scheduler) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        shape = ClusterShape(client, every_s=0.1, max_without_worker_s=1.0)
        assert shape.without_worker_s == 0
        cluster.scale(0)
        dispatcher = ShardDispatcher(shape, roomy(client, 2), 4, steps=STEPS)
        with pytest.raises(ClusterLost, match="no worker for 1 s"):
            list(dispatcher.compress([Document("good:1:fine", 10, "1")], str(tmp_path)))


def test_a_scheduler_that_is_gone_ends_all_shards_with_the_same_words(tmp_path: Path) -> None:
    from distributed import Client

    with cluster(tmp_path) as running, Client(running.address, timeout=3, set_as_default=False) as client:
        shape = ClusterShape(client, every_s=0.1)

        def shard(page_done: Callable[[], None] = lambda: None) -> ShardDispatcher:
            return ShardDispatcher(shape, roomy(client, 4), 4, RunHooks(page_done=page_done), STEPS)

        for one, key in ((shard(running.scheduler.kill), "book:50:fine"), (shard(), "begun when it is gone:1:fine")):
            with pytest.raises(ClusterLost, match="connection to the Dask scheduler is lost"):
                list(one.compress([Document(key, 10, "1")], str(tmp_path)))


@pytest.mark.promise(FAILS_ALONE, "a step raises what nobody expects")
def test_a_bug_in_a_step_fails_its_document_and_no_other(client, tmp_path: Path) -> None:
    rows = compress(client, ["good:2:fine", "bad:3:breaks", "other:1:fine"], tmp_path)
    assert (rows["bad:3:breaks"][0]["reason"], rows["bad:3:breaks"][0]["message"]) == (
        "internal_error",
        "ValueError: a bug in a step",
    )
    assert rows["good:2:fine"][1]["scores"] and rows["other:1:fine"][0]["scores"]


@pytest.mark.promise(FAILS_ALONE, "the network fails on it, in a batch with others")
def test_a_page_that_cannot_be_scored_does_not_take_its_batch_along(gpu_client, tmp_path: Path) -> None:
    keys = [f"good{number}:1:fine" for number in range(3)]
    rows = compress(gpu_client, [*keys, "bad:1:unscorable"], tmp_path, gate=roomy(gpu_client, 8))
    assert rows["bad:1:unscorable"][0]["reason"] == "internal_error"
    assert all(rows[key][0]["scores"] for key in keys)


@pytest.mark.promise(FAILS_ALONE, "the network fails on it")
@pytest.mark.parametrize("n_pages", [1, 2])
def test_a_document_that_cannot_be_scored_fails_alone(client, n_pages, tmp_path: Path) -> None:
    rows = compress(client, ["good:1:fine", f"bad:{n_pages}:unscorable"], tmp_path)
    assert rows[f"bad:{n_pages}:unscorable"][0]["reason"] == "internal_error"
    assert rows["good:1:fine"][0]["scores"]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("store down", StoreUnavailable),
        ("no tesseract", ConfigError),
        ("disk full", HostError),
        ("no files left", HostError),
        ("no memory left", HostError),
        ("no package", HostError),
    ],
)
def test_what_no_page_can_help_ends_the_shard_and_leaves_the_gate_open(client, what, error, tmp_path: Path) -> None:
    gate = roomy(client, 2)
    with pytest.raises(error):
        compress(client, ["good:3:fine", f"bad:1:{what}", "other:3:fine"], tmp_path, gate=gate)
    assert gate.is_empty


def test_a_shard_that_is_told_to_stop_stops_and_leaves_the_gate_open(client, tmp_path: Path) -> None:
    gate = roomy(client, 2)
    finished: list[int] = []

    def stop_after_three() -> None:
        if len(finished) >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress(
            client, ["book:50:fine"], tmp_path, gate=gate, check=stop_after_three, page_done=lambda: finished.append(1)
        )
    assert gate.is_empty
    assert len(finished) < 10


def test_pages_are_scored_where_a_gpu_is_offered_and_prepared_everywhere(gpu_client, tmp_path: Path) -> None:
    shape = ClusterShape(gpu_client)
    assert (shape.n_workers, shape.n_gpus, shape.scoring_resources) == (2, 1, {"GPU": 1})
    steps = SimpleNamespace(**{**vars(STEPS), "score_pages": score_on_gpu_worker})
    dispatcher = ShardDispatcher(shape, roomy(gpu_client, 4), 4, steps=steps)
    documents = [Document(f"doc{number}:2:fine", 10, "1") for number in range(6)]
    rows = [row for result in dispatcher.compress(documents, str(tmp_path)) for row in result.pages]
    assert len(rows) == 12
    assert {row["scores"] for row in rows} == {"{'GPU': 1}"}


def prepare_and_tell_where(source, number, folder):
    from distributed import get_worker

    (Path(folder) / f"where-{number}").write_text(get_worker().address)
    return prepare_page(source, number, folder)


def test_pages_are_decoded_by_the_worker_that_has_room_for_them(client, tmp_path: Path) -> None:
    shape, let_in = ClusterShape(client), []

    class Told(PageGate):
        def try_enter(self, *page):
            worker = super().try_enter(*page)
            let_in.extend([] if worker is None else [worker])
            return worker

    steps = SimpleNamespace(**{**vars(STEPS), "prepare_page": prepare_and_tell_where})
    dispatcher = ShardDispatcher(shape, Told(lambda: shape.workers, 1, 10**9), 4, steps=steps)
    assert len(list(dispatcher.compress([Document("book:12:fine", 2**25, "1")], str(tmp_path)))) == 1
    assert [(tmp_path / f"where-{number}").read_text() for number in range(12)] == let_in
    assert set(let_in) == set(shape.workers)


def test_a_page_larger_than_all_room_is_let_in_where_nothing_else_is() -> None:
    gate = PageGate(lambda: ("a", "b"), 4, 100)
    assert gate.try_enter(60) == "a"
    assert gate.try_enter(1000) == "b"
    assert gate.try_enter(1000) is None
    assert gate.try_enter(40) == "a"
    assert gate.try_enter(1) is None
    gate.leave(1000, "b")
    assert gate.try_enter(1) == "b"


def test_a_page_goes_where_least_is_in_flight_and_to_workers_that_come() -> None:
    workers = ["a", "b"]
    gate = PageGate(lambda: workers, 3, 100)
    assert [gate.try_enter(pixels) for pixels in (50, 10, 20, 30)] == ["a", "b", "b", "b"]
    workers.append("c")
    assert gate.try_enter(90) == "c"
    workers.remove("a")
    gate.leave(50, "a")  # it is gone, and what was on its way there is done elsewhere
    assert gate.try_enter(20) is None


def test_while_no_worker_is_known_one_is_counted_with() -> None:
    gate = PageGate(list, 2, 100)
    assert [gate.try_enter(10) for _ in range(3)] == [ANY_WORKER, ANY_WORKER, None]
    assert gate.max_pages == 2


def test_who_wants_to_be_alone_waits_for_others_and_keeps_them_out() -> None:
    gate, who = PageGate(lambda: ("a", "b"), 4, 10**6), object()
    assert gate.try_enter(10) == "a"
    assert gate.try_enter(10, who) is None
    assert gate.try_enter(10) is None  # from now on nobody else
    gate.leave(10, "a")
    assert gate.try_enter(10, who) == "a"
    assert gate.try_enter(10, who) is None  # one page at a time
    gate.leave(10, "a")
    gate.end_alone(who)
    assert gate.try_enter(10) == "a"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 200)), max_size=60), st.integers(1, 4))
def test_the_gate_never_lets_in_more_than_a_worker_has_room_for(events: list[tuple[bool, int]], n_workers: int) -> None:
    gate = PageGate(lambda: [str(number) for number in range(n_workers)], 2, 100)
    inside: list[tuple[int, str]] = []
    for enters, pixels in events:
        if enters:
            worker = gate.try_enter(pixels)
            inside += [] if worker is None else [(pixels, worker)]
            if worker is None:  # there is room nowhere
                assert len({where for _, where in inside}) == n_workers
        elif inside:
            gate.leave(*inside.pop())
        for worker in {where for _, where in inside}:
            there = [held for held, where in inside if where == worker]
            assert len(there) <= 2
            assert sum(there) <= 100 or len(there) == 1
    for pixels, worker in inside:
        gate.leave(pixels, worker)
    assert gate.is_empty
