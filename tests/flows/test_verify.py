"""Test that verify finds each kind of damage in a real output, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster
from PIL import Image
from prefect.utilities.annotations import quote

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import Verification, verify_archive
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import table_bytes
from foliopress.tasks.storage.store import Store
from tests.papers import Sheet, paper, shown
from tests.promises import VERIFY

pytestmark = [
    pytest.mark.promise(
        VERIFY,
        "each kind of damage, planted",
    ),
    pytest.mark.usefixtures("prefect_api"),
]

Found = list[tuple[str, str]]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def finished(prefect_api: None, scheduler: str, tmp_path_factory, draw_page) -> tuple[Path, Path]:
    """SOURCE and DEST of a run over pages, a book, a PDF that is kept, and a scan that cannot be opened."""
    folder = tmp_path_factory.mktemp("finished")
    source, dest = folder / "scans", folder / "out"
    (source / "letters").mkdir(parents=True)
    for name in ("letters/a.jpg", "letters/b.jpg", "c.png", "d.jpg", "e.jpg"):
        draw_page(f"Page {name}").save(source / name, quality=92, dpi=(100, 100))
    book = [draw_page(f"Leaf {number}").convert("L") for number in range(3)]
    book[0].save(source / "book.tif", save_all=True, append_images=book[1:], dpi=(100, 100))
    (source / "act.pdf").write_bytes(paper(Sheet(None, above=shown("An act"))))
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=3"])
    summary = compress_archive(quote(RunRequest(str(source), str(dest), settings)))
    assert summary.whole.compressed == 8
    return source, dest


@pytest.fixture
def dest(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the output that may be damaged."""
    return Path(shutil.copytree(finished[1], tmp_path / "out"))


@pytest.fixture
def verify(scheduler: str) -> Callable[..., Verification]:
    def run(dest: Path, *overrides: str, source: Path | None = None, look: bool = False) -> Verification:
        settings = load_settings("access", [f"cluster.scheduler={scheduler}", *overrides])
        return verify_archive(str(dest), quote(settings), source=str(source) if source else None, look=look)

    return run


def found(verification: Verification) -> Found:
    return [(damage.kind, damage.key) for damage in verification.damages]


def output_of(dest: Path, name: str) -> Path:
    (path,) = (path for path in dest.glob(f"pages/{name}*") if path.is_file())
    return path


def shard_of(dest: Path, document_key: str) -> Path:
    for path in (dest / "stats/pages").glob("*.parquet"):
        if document_key in pq.read_table(path).column("document_key").to_pylist():
            return path
    raise AssertionError(document_key)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = pq.read_table(path)
    metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    path.write_bytes(table_bytes(change(table), PAGES_SCHEMA, metadata))


def test_what_nobody_touched_is_sound(finished: tuple[Path, Path], verify: Callable[..., Verification]) -> None:
    source, dest = finished
    verification = verify(dest, source=source)
    assert found(verification) == []
    assert verification.is_sound
    assert (verification.documents, verification.pages, verification.outputs) == (8, 10, 10)
    assert "nothing is damaged" in verification.as_text()


def test_each_kind_of_damage_is_found_and_named(dest: Path, verify: Callable[..., Verification]) -> None:
    missing, cut, flipped = (output_of(dest, name) for name in ("letters/a.jpg", "letters/b.jpg", "c.png"))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 0x10
    flipped.write_bytes(data)
    act = dest / "pages/act.pdf"
    act.write_bytes(act.read_bytes().replace(b"%PDF-1.", b"%PDF-2."))
    page = dest / "pages/book.tif/0002.avif"
    page.write_bytes(page.read_bytes() + b"\0")
    (dest / "pages/letters/stranger.avif").write_bytes(b"who put this here")
    verification = verify(dest)
    assert found(verification) == sorted(
        [
            ("missing", str(missing.relative_to(dest))),
            ("truncated", str(cut.relative_to(dest))),
            ("changed", str(flipped.relative_to(dest))),
            ("changed", "pages/act.pdf"),
            ("changed", "pages/book.tif/0002.avif"),
            ("extra", "pages/letters/stranger.avif"),
        ]
    )
    assert not verification.is_sound
    text = verification.as_text()
    assert "3 x changed" in text and "1 x missing" in text
    assert json.loads(json.dumps(verification.as_dict()))["kinds"] == {
        "changed": 3,
        "extra": 1,
        "missing": 1,
        "truncated": 1,
    }


def test_an_output_that_is_what_was_written_but_no_picture_or_another_is_found(
    dest: Path, verify: Callable[..., Verification]
) -> None:
    """As a faulty encoder or a mix-up would have left it: the digest agrees with the row, the picture does not."""
    new = {"d.jpg": b"no picture at all", "e.jpg": output_of(dest, "d.jpg").read_bytes()}
    small = dest / "small.png"
    Image.new("L", (48, 36), 200).save(small)
    new["e.jpg"] = small.read_bytes()
    small.unlink()
    for key, data in new.items():
        output_of(dest, key).write_bytes(data)

        def change(table: pa.Table, key: str = key, data: bytes = data) -> pa.Table:
            rows = table.to_pylist()
            for row in rows:
                if row["document_key"] == key:
                    row |= {"output_bytes": len(data), "output_sha256": hashlib.sha256(data).hexdigest()}
            return pa.Table.from_pylist(rows, schema=table.schema)

        rewritten(shard_of(dest, key), change)
    assert found(verify(dest)) == [
        ("undecodable", str(output_of(dest, "d.jpg").relative_to(dest))),
        ("unlike_row", str(output_of(dest, "e.jpg").relative_to(dest))),
    ]


def test_rows_that_are_missing_or_there_twice_are_found(dest: Path, verify: Callable[..., Verification]) -> None:
    def without_second_page(table: pa.Table) -> pa.Table:
        return table.filter([not (key == "book.tif" and page == 1) for key, page in pages_of(table)])

    def twice(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table, table.filter([key == "d.jpg" for key, _ in pages_of(table)])])

    def pages_of(table: pa.Table) -> list[tuple[str, int]]:
        return list(zip(*(table.column(name).to_pylist() for name in ("document_key", "page_index")), strict=True))

    rewritten(shard_of(dest, "book.tif"), without_second_page)
    rewritten(shard_of(dest, "d.jpg"), twice)
    assert set(found(verify(dest))) >= {
        ("row_missing", "book.tif"),
        ("extra", "pages/book.tif/0002.avif"),
        ("row_twice", "d.jpg"),
    }


def test_pages_without_an_output_are_told_with_the_reasons_why_they_failed(
    dest: Path, verify: Callable[..., Verification]
) -> None:
    reasons = {"d.jpg": "name_refused", "e.jpg": "out_of_time"}

    def failed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            if reason := reasons.get(row["document_key"]):
                row |= {"status": "failed", "reason": reason, "output_key": None}
        return pa.Table.from_pylist(rows, table.schema)

    for path in {shard_of(dest, name) for name in reasons}:
        rewritten(path, failed)
    told = verify(dest)
    assert told.as_dict()["unread_reasons"] == {"name_refused": 1, "out_of_time": 1}
    assert "2 failed pages have no output: 1 x name_refused, 1 x out_of_time\n" in told.as_text()


def test_documents_of_the_source_without_rows_are_holes(
    finished: tuple[Path, Path], dest: Path, verify: Callable[..., Verification], tmp_path: Path
) -> None:
    source = Path(shutil.copytree(finished[0], tmp_path / "scans"))
    shutil.copy(source / "d.jpg", source / "new.jpg")
    assert found(verify(dest, source=source)) == [("hole", "new.jpg")]
    assert found(verify(dest, "scan.exclude=['new*']", source=source)) == []


@pytest.mark.parametrize("table", ["pages", "words", "tiles"])
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied"])
def test_damaged_statistics_are_found_and_the_rest_is_checked_all_the_same(
    dest: Path, verify: Callable[..., Verification], table: str, how: str
) -> None:
    path = dest / "stats" / table / shard_of(dest, "d.jpg").name
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes({"flipped": bytes(data), "cut": bytes(data[: len(data) // 2]), "emptied": b""}[how])
    output_of(dest, "letters/a.jpg").unlink()
    damages = found(verify(dest))
    kind = "statistics" if table == "pages" else "changed" if how == "flipped" else "truncated"
    assert (kind, str(path.relative_to(dest))) in damages
    kinds = dict(damages)
    if shard_of_intact(dest, "letters/a.jpg"):
        assert kinds["missing"].startswith("pages/letters/a.jpg")


def shard_of_intact(dest: Path, document_key: str) -> bool:
    for path in (dest / "stats/pages").glob("*.parquet"):
        try:
            if document_key in pq.read_table(path).column("document_key").to_pylist():
                return True
        except (pa.ArrowException, OSError):
            continue
    return False


def test_leftovers_of_a_killed_run_are_told(dest: Path, verify: Callable[..., Verification]) -> None:
    left = dest / "stats/words/0123.parquet"
    shutil.copy(next((dest / "stats/words").glob("*.parquet")), left)
    assert found(verify(dest)) == [("extra", "stats/words/0123.parquet")]


def test_a_strangers_table_among_the_statistics_is_told_and_the_rest_is_checked(
    dest: Path, verify: Callable[..., Verification]
) -> None:
    stranger = dest / "stats/other/table.parquet"
    stranger.parent.mkdir()
    pq.write_table(pa.table({"a": [1]}), stranger)
    assert found(verify(dest)) == [("statistics", "stats/other/table.parquet")]


def test_a_rerun_does_again_what_is_missing_or_cut_and_a_deep_one_what_has_changed(
    dest: Path, finished: tuple[Path, Path], scheduler: str, verify: Callable[..., Verification]
) -> None:
    settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=3"])

    def rerun(**more: bool) -> list[str]:
        summary = compress_archive(quote(RunRequest(str(finished[0]), str(dest), settings, **more)))
        return [row["document_key"] for row in live_rows(store) if row["run_id"] == summary.run_id]

    store = Store(str(dest), settings.storage)
    before = {str(path.relative_to(dest)): path.read_bytes() for path in dest.glob("pages/**/*") if path.is_file()}
    assert rerun() == []
    output_of(dest, "letters/a.jpg").unlink()
    cut = dest / "stats/words" / shard_of(dest, "d.jpg").name
    cut.write_bytes(cut.read_bytes()[:-9])
    again = rerun()
    assert {"letters/a.jpg", "d.jpg"} <= set(again) < {row["document_key"] for row in live_rows(store)}
    assert verify(dest).is_sound
    flipped = output_of(dest, "c.png")
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    assert rerun() == []
    assert "c.png" in rerun(is_deep=True)
    assert verify(dest).is_sound
    after = {str(path.relative_to(dest)): path.read_bytes() for path in dest.glob("pages/**/*") if path.is_file()}
    assert after == before


def test_damage_to_a_document_that_the_source_no_longer_has_is_told_and_nothing_is_deleted(
    dest: Path,
    finished: tuple[Path, Path],
    scheduler: str,
    verify: Callable[..., Verification],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Path(shutil.copytree(finished[0], tmp_path / "scans"))
    (source / "c.png").unlink()
    cut = output_of(dest, "c.png")
    cut.write_bytes(cut.read_bytes()[:-1])
    settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=3"])
    compress_archive(quote(RunRequest(str(source), str(dest), settings)))
    assert "1 shards in DEST are damaged and could not be redone" in capsys.readouterr().err
    assert found(verify(dest)) == [("truncated", str(cut.relative_to(dest)))]


def test_a_folder_without_statistics_is_an_error_and_not_sound(
    tmp_path: Path, verify: Callable[..., Verification]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no statistics"):
        verify(tmp_path / "empty")
    with pytest.raises(ConfigError):
        verify(tmp_path / "nowhere")


def test_the_command_reports_and_its_exit_code_tells(dest: Path, finished: tuple[Path, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "foliopress.flows.cli",
        "verify",
        str(dest),
        "--source",
        str(finished[0]),
        "--workers",
        "1",
    ]
    sound = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stderr
    assert "10 outputs of 8 documents" in sound.stdout
    output_of(dest, "d.jpg").unlink()
    damaged = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert damaged.returncode == 3, damaged.stderr
    assert json.loads(damaged.stdout)["damages"][0]["kind"] == "missing"


def test_a_sound_output_is_looked_at_again_and_nothing_is_seen_otherwise(finished, verify):
    source, dest = finished
    again = verify(dest, source=source, look=True)
    assert again.is_sound
    assert again.looked_at_pages == 8
    assert "8 compressed pages compared with their scans" in again.as_text()


def test_an_output_that_shows_something_else_than_its_scan_is_found_by_looking(finished, dest, verify):
    """As a mix-up would have left it: rows and outputs agree, and the scan is what it was."""
    other, wrong = output_of(dest, "d.jpg").read_bytes(), output_of(dest, "c.png")
    wrong.write_bytes(other)

    def of_the_other(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            if row["document_key"] == "c.png":
                row |= {"output_bytes": len(other), "output_sha256": hashlib.sha256(other).hexdigest()}
        return pa.Table.from_pylist(rows, table.schema)

    rewritten(shard_of(dest, "c.png"), of_the_other)
    assert found(verify(dest, source=finished[0], look=True)) == [("seen_otherwise", "c.png")]


def test_a_scan_that_is_not_the_one_that_was_compressed_is_told_as_that(finished, dest, verify, draw_page):
    source = dest.parent / "scans"
    shutil.copytree(finished[0], source)
    draw_page("Another").save(source / "c.png")
    with (source / "book.tif").open("ab") as book:
        book.write(b"\0")  # which shows the same
    again = verify(dest, source=source, look=True)
    assert found(again) == [("source_changed", "book.tif"), ("source_changed", "c.png")]
    assert "the source is not the one that was compressed" in again.as_text()
    assert again.looked_at_pages == 4


def test_looking_needs_the_scans(finished, verify):
    with pytest.raises(ConfigError, match="--source"):
        verify(finished[1], look=True)
    (finished[1].parent / "empty").mkdir()
    lost = verify(finished[1], "scan.allow_empty=true", source=finished[1].parent / "empty", look=True)
    assert {damage.kind for damage in lost.damages} == {"source_missing"}
