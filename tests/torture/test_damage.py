"""Damage every kind of file in a DEST: verify must report it, and a rerun must repair it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import StorageSettings
from foliopress.flows.compress import compress_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import Verification, verify_archive
from foliopress.tasks.records.footers import read_footers
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key
from foliopress.tasks.storage.store import Store
from tests.flows.conftest import prefect_api  # noqa: F401 - a fixture
from tests.promises import VERIFY
from tests.reliability import Tally
from tests.torture.outcome import outcome_of
from tests.torture.peace import IS_TORTURE

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200), pytest.mark.usefixtures("prefect_api")]

HOW = ("removed", "truncated", "flipped")
TAG_FILES = ("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt")
ROUNDS = 3 * len(TAG_FILES) if IS_TORTURE else 1
"""Each round plants one damage of each kind; tag files take turns."""

Chance = np.random.Generator


@dataclass(frozen=True)
class Finished:
    """A bag around the DEST of two runs, their source, and the original contents of DEST."""

    source: Path
    bag: Path
    scheduler: str

    def compress(self, dest: Path, *overrides: str, deep: bool = False) -> None:
        settings = load_settings("access", [*self._wanted(), *overrides])
        compress_archive(quote(RunRequest(str(self.source), str(dest), settings, is_deep=deep)))

    def verify(self, dest: Path) -> Verification:
        return verify_archive(str(dest), quote(load_settings("access", self._wanted())))

    def _wanted(self) -> list[str]:
        forms = ["text=[alto,hocr,txt]", "evidence.bag=true", "stats.words_of_kept=true"]
        return [f"cluster.scheduler={self.scheduler}", "shard.max_documents=3", *forms]


@pytest.fixture(scope="module")
def finished(prefect_api: None, tmp_path_factory: pytest.TempPathFactory, draw_page) -> Iterator[Finished]:  # noqa: F811
    """Compact the statistics of a first run; leave those of later documents uncompacted."""
    folder = tmp_path_factory.mktemp("finished")
    source = folder / "scans"
    (source / "letters").mkdir(parents=True)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        made = Finished(source, folder / "bag", cluster.scheduler_address)
        for number in range(6):
            draw_page(f"Letter {number}").save(source / "letters" / f"{number}.jpg", quality=92, dpi=(100, 100))
        leaves = [draw_page(f"Leaf {number}").convert("L") for number in range(2)]
        leaves[0].save(source / "book.tif", save_all=True, append_images=leaves[1:], dpi=(100, 100))
        made.compress(made.bag / "data", "stats.most_small_files=1", "evidence.bag=false")
        for number in range(6):
            draw_page(f"Note {number}").save(source / f"note-{number}.png", dpi=(100, 100))
        shutil.copy(source / "note-0.png", source / "twin.png")
        made.compress(made.bag / "data", "stats.most_small_files=50")
        verification = made.verify(made.bag / "data")
        assert verification.is_sound, verification.as_text()
        assert len(read_footers(store_of(made.bag / "data"))) >= 4
        yield made


def store_of(dest: Path) -> Store:
    return Store(str(dest), StorageSettings())


def places(dest: Path, chance: Chance) -> dict[str, str]:
    """Choose a file of each kind; rows about the chosen files must not be in a file that another damage hides."""
    store = store_of(dest)
    footers = read_footers(store)
    pages, words, tiles = (str(name) for name in chance.permutation(sorted(footers))[:3])
    rows = [row for row in live_rows(store) if row["shard_id"] not in {one.shard_id for one in footers[pages].shards}]
    outputs = sorted({str(row["output_key"]) for row in rows})
    texts = sorted(file["key"] for row in rows for file in row["text_files"] or ())
    runs = sorted({entry.run_id for name in footers.keys() - {pages} for entry in footers[name].shards})
    return {
        "page rows": file_key("pages", pages),
        "words": file_key("words", words),
        "tiles": file_key("tiles", tiles),
        "output": str(chance.choice(outputs)),
        "text": str(chance.choice(texts)),
        "events": f"evidence/events/{chance.choice(sorted(footers))}.parquet",
        "events, as PREMIS": f"evidence/premis/{chance.choice(sorted(footers))}.jsonl.gz",
        "a run's settings": f"runs/{chance.choice(runs)}/settings.yaml",
        "a run's figures": f"runs/{chance.choice(runs)}/run.json",
    }


def plant(path: Path, how: str, chance: Chance) -> None:
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: int(chance.integers(len(data)))])
    else:
        changed = bytearray(data)
        changed[int(chance.integers(len(data)))] ^= 1 << int(chance.integers(8))
        path.write_bytes(bytes(changed))


def texts_of(dest: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(dest)): path.read_bytes() for path in dest.glob("text/**/*") if path.is_file()}


KINDS_OF_DAMAGE = {
    "removed": {"missing"},
    "truncated": {"truncated", "changed", "statistics"},
    "flipped": {"changed", "statistics"},
}


def damage_and_mend(finished: Finished, folder: Path, how: str, number: int, kinds: Callable[..., dict[str, str]]):
    """Plant damage, verify, rerun and verify; return the kinds that were not reported and those not repaired."""
    chance = np.random.default_rng([number, HOW.index(how)])
    bag = Path(shutil.copytree(finished.bag, folder / f"{how}-{number}"))
    dest = bag / "data"
    before, texts = outcome_of(str(dest)), texts_of(dest)
    planted = kinds(dest, chance)
    for key in planted.values():
        plant(dest / key, how, chance)
    named = {(damage.kind, damage.key) for damage in finished.verify(dest).damages}
    losses = {
        kind: [f"not named: {key}"] if not any((one, key) in named for one in KINDS_OF_DAMAGE[how]) else []
        for kind, key in planted.items()
    }
    finished.compress(dest, "stats.most_small_files=50", deep=how == "flipped")
    after = finished.verify(dest)
    differences = [one for one in before.differences(outcome_of(str(dest))) if not one.startswith("statistics ")]
    differences += [
        f"text: {key}" for key in texts.keys() | texts_of(dest) if texts.get(key) != texts_of(dest).get(key)
    ]
    differences += [str(damage) for damage in after.damages]
    if differences:
        losses |= {kind: [*found, *differences] for kind, found in losses.items()}
    shutil.rmtree(bag)
    return losses


def count(tally: Tally, losses: dict[str, list[str]], how: str, number: int) -> None:
    for kind, found in losses.items():
        tally.reruns += 1
        tally.add(found, f"{kind} {how}, round {number}")


@pytest.mark.promise(VERIFY, "every kind of file below DEST removed, truncated or flipped; a rerun restores DEST")
@pytest.mark.parametrize("how", HOW)
def test_each_kind_of_file(how: str, finished: Finished, tmp_path: Path, tally: Tally) -> None:
    for number in range(max(1, ROUNDS // 4)):
        count(tally, damage_and_mend(finished, tmp_path, how, number, places), how, number)
    assert tally.lost == 0


@pytest.mark.promise(VERIFY, "the index of events or a tag file of the bag removed, truncated or flipped")
@pytest.mark.parametrize("how", HOW)
def test_each_file_that_lists_others(how: str, finished: Finished, tmp_path: Path, tally: Tally) -> None:
    for number in range(ROUNDS):

        def lists(dest: Path, chance: Chance, number: int = number) -> dict[str, str]:
            tag_file = TAG_FILES[number % len(TAG_FILES)]
            return {"the index of events": "evidence/index.json", tag_file: f"../{tag_file}"}

        count(tally, damage_and_mend(finished, tmp_path, how, 100 + number, lists), how, number)
    assert tally.lost == 0


@pytest.mark.promise(VERIFY, "a file of a stranger's among each kind of file below DEST")
def test_what_is_extra_is_named(finished: Finished, tmp_path: Path) -> None:
    dest = Path(shutil.copytree(finished.bag / "data", tmp_path / "out"))
    (run, *_) = (path.parent for path in dest.glob("runs/*/run.json"))
    folders = ("pages/letters", "text/letters", "stats/words", "stats/tiles", "evidence/events", "evidence/premis")
    strangers = [*(f"{folder}/stranger.txt" for folder in folders), f"{run.relative_to(dest)}/notes.txt"]
    for key in strangers:
        (dest / key).write_bytes(b"who put this here")
    assert sorted((one.kind, one.key) for one in finished.verify(dest).damages) == sorted(
        ("extra", key) for key in strangers
    )
