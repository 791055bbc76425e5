"""Test files with any contents and any name in SOURCE: each gets its rows, and the others are not affected."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from PIL import Image

from foliopress.configs.settings import LimitSettings, StorageSettings
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.bombs import nested_patterns
from tests.papers import Sheet, flate, paper
from tests.promises import EVERY_FILE_HAS_ROWS, MANY_AT_ONCE, NO_COLLISION
from tests.reliability import Tally
from tests.servers import S3Server
from tests.torture.archives import pieces
from tests.torture.mutations import write_mutations
from tests.torture.outcome import outcome_of
from tests.torture.peace import IS_TORTURE, Undisturbed, scans_if_any
from tests.torture.runs import SMALL_SHARDS, Ended, Run, compress

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


MEMORY = ("--set", "cluster.memory_per_worker=1500MiB")
LONGEST_PAGE_S = 60.0
OUR_FAULT = ("internal_error", "worker_killed")


def rows_by_document(dest: str, storage: StorageSettings | None = None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in live_rows(Store(dest, storage or StorageSettings())):
        found.setdefault(str(row["document_key"]), []).append(row)
    return found


def verified(dest: object, source: object, folder: Path) -> Ended:
    return Run(dest, "--source", source, "--json", folder=folder, command="verify").wait(1200)


def seconds_of(row: dict[str, Any]) -> float:
    return sum(value or 0.0 for name, value in row.items() if name.startswith("seconds_"))


@pytest.mark.promise(EVERY_FILE_HAS_ROWS, "mutated files: flips, truncations, spliced headers, huge numbers, noise")
def test_files_to_whose_bytes_something_happened(tmp_path: Path, tally: Tally) -> None:
    keys = write_mutations(tmp_path / "source", 5200 if IS_TORTURE else 80, scans_if_any(), seed=7)
    ended = Run(tmp_path / "source", tmp_path / "out", "--json", *MEMORY, folder=tmp_path).wait(5400)
    assert ended.returncode == 3, ended.told
    rows = rows_by_document(str(tmp_path / "out"))
    for key in keys:
        found = rows.get(key, [])
        losses = [] if found else [f"{key} has no row"]
        losses += [f"{key}: {row['reason']}: {row['message']}" for row in found if row["reason"] in OUR_FAULT]
        losses += [f"{key} took {seconds_of(row):.0f} s" for row in found if seconds_of(row) > LONGEST_PAGE_S]
        tally.add(losses, key)
    statuses = Counter(row["status"] for found in rows.values() for row in found)
    print(statuses, Counter(row["reason"] for found in rows.values() for row in found))
    if IS_TORTURE:
        check = verified(tmp_path / "out", tmp_path / "source", tmp_path)
        assert check.returncode == 0, check.told
    assert tally.lost == 0
    assert set(statuses) == {"compressed", "kept", "failed"}


@pytest.mark.slow
@pytest.mark.promise(EVERY_FILE_HAS_ROWS, "the odd and broken files of other projects' tests")
def test_the_odd_and_broken_files_of_other_projects(scans: Path, tmp_path: Path, tally: Tally) -> None:
    source = tmp_path / "source"
    for folder in sorted(scans.glob("robust-*")):
        (source / folder.name).parent.mkdir(parents=True, exist_ok=True)
        (source / folder.name).symlink_to(folder / "images")
    ended = Run(source, tmp_path / "out", folder=tmp_path).wait(1800)
    assert ended.returncode == 3, ended.told
    rows = rows_by_document(str(tmp_path / "out"))
    for found in Store(str(source), StorageSettings()).list_objects():
        here = rows.get(found.key, [])
        is_document = found.key in rows or found.key.rpartition(".")[2].lower() in ("tif", "tiff", "jpg", "png", "pdf")
        losses = [] if here or not is_document else [f"{found.key} has no row"]
        losses += [f"{found.key}: {row['reason']}: {row['message']}" for row in here if row["reason"] in OUR_FAULT]
        tally.add(losses, found.key)
    check = verified(tmp_path / "out", source, tmp_path)
    assert check.returncode == 0, check.told
    assert tally.lost == 0
    assert tally.tried > 100


def png_that_says(width_px: int, height_px: int) -> bytes:
    """Return a PNG whose header declares more pixels than it has bytes for."""
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.promise(
    EVERY_FILE_HAS_ROWS, "pixel bombs, tiny, thin, black, white, empty, misnamed, encrypted, loops, pipes"
)
def test_odd_files(tmp_path: Path, tally: Tally) -> None:
    source = tmp_path / "source"
    source.mkdir()
    grain = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    noise, blank = Image.fromarray(grain), Image.new("L", (600, 800), 255)
    expected: dict[str, tuple[tuple[str, ...], tuple[str | None, ...]]] = {}

    def put(name: str, data: bytes, statuses: tuple[str, ...], *reasons: str | None) -> None:
        (source / name).write_bytes(data)
        expected[name] = statuses, reasons

    fine = ("compressed", "kept")
    put("bomb.png", png_that_says(60_000, 60_000), ("kept",), "too_large")
    put("bomb1.png", png_that_says(2**31 - 1, 2**31 - 1), ("kept", "failed"), "too_large", "damaged")
    put("bomb.bmp", saved(Image.new("1", (64, 64)), "BMP")[:18] + struct.pack("<ii", 2**20, 2**20), ("kept", "failed"))
    put("one pixel.png", saved(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG"), fine)
    put("thin.png", saved(Image.new("L", (1, 60_000), 200), "PNG"), fine)
    put("flat.tif", saved(Image.new("L", (60_000, 1), 200), "TIFF"), fine)
    put("black.jpg", saved(Image.new("RGB", (800, 600)), "JPEG"), fine)
    put("white.jpg", saved(blank, "JPEG"), fine)
    put("black.tif", saved(Image.new("1", (800, 600)), "TIFF", compression="group4"), fine)
    put("noise.png", saved(noise, "PNG"), fine)
    put("nothing.jpg", b"", ("failed",), "empty", "damaged", "unreadable")
    put("zeros.tif", bytes(5000), ("failed",))
    put("a png.jpg", saved(noise, "PNG"), fine)
    put("a tiff.png", saved(blank, "TIFF"), fine)
    put("text.tif", b"Dear Sir, enclosed please find\n" * 40, ("failed",))
    locked = paper(Sheet(None), encryption=pikepdf.Encryption(user="secret", owner="owner"))
    put("locked.pdf", locked, ("kept",), "encrypted")
    put(
        "nothing.pdf", b"%PDF-1.6\n1 0 obj<</Encrypt 2 0 R>>endobj\ntrailer<</Encrypt 2 0 R>>\n", ("failed",), "damaged"
    )
    put("fine.jpg", saved(next(pieces(scans_if_any(), np.random.default_rng(3))), "JPEG", quality=92), fine)
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "nowhere.png").symlink_to("gone.png")
    (source / "a folder.jpg").mkdir()
    (source / "a folder.jpg" / "up").symlink_to(source)
    os.mkfifo(source / "pipe.jpg")
    expected |= dict.fromkeys(("loop.jpg", "nowhere.png"), (("failed",), ()))

    ended = compress(source, tmp_path / "out", *MEMORY, folder=tmp_path)
    assert ended.returncode == 3, ended.told
    rows = rows_by_document(str(tmp_path / "out"))
    assert rows.keys() == expected.keys()
    for name, (statuses, reasons) in expected.items():
        (row,) = rows[name]
        told = (row["status"], row["reason"])
        is_fine = row["status"] in statuses and (not reasons or row["reason"] in reasons)
        is_fine = is_fine and row["reason"] not in OUR_FAULT and seconds_of(row) < LONGEST_PAGE_S
        tally.add([] if is_fine else [f"{name}: {told}: {row['message']}"], name)
    assert verified(tmp_path / "out", source, tmp_path).returncode == 0
    assert tally.lost == 0


@pytest.mark.promise(EVERY_FILE_HAS_ROWS, "drawings without end, in code that asks no clock: the worker is ended")
@pytest.mark.parametrize("what", ["--set documents.pdf=pages", "--set documents.pdf=same"])
def test_a_document_that_occupies_its_worker_fails_alone_and_its_neighbours_are_done(
    what: str, tmp_path: Path, tally: Tally
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    drawn = pieces(scans_if_any(), np.random.default_rng(4))

    def sheet() -> np.ndarray:
        return np.asarray(next(drawn).convert("L").resize((595, 842)))

    (source / "endless.pdf").write_bytes(nested_patterns(scan=sheet()))
    for number in range(4):
        (source / f"fine {number}.pdf").write_bytes(paper(Sheet(flate(sheet()))))
    quick = ("--set", "limits.max_document_seconds=0.5", "--workers", "2")
    ended = compress(source, tmp_path / "out", *MEMORY, *quick, *what.split(), folder=tmp_path)
    rows = rows_by_document(str(tmp_path / "out"))
    (row,) = rows["endless.pdf"]
    is_told = (row["status"], row["reason"]) == ("failed", "out_of_time")
    tally.add([] if is_told and ended.returncode == 3 else [f"{row['reason']}: {row['message']}"], "endless.pdf")
    assert (tmp_path / "out" / row["output_key"]).read_bytes() == (source / "endless.pdf").read_bytes()
    for number in range(4):
        (row,) = rows[f"fine {number}.pdf"]
        tally.add([] if row["status"] == "compressed" else [str(row["reason"])], f"fine {number}.pdf")
    assert verified(tmp_path / "out", source, tmp_path).returncode == 0
    assert tally.lost == 0


HOSTILE_NAMES = [
    *("a.jpg", "a.png", "a.tif", "A.JPG", "A.jpg", "a.jpg.avif", "a.avif", "a.jpg%.avif", "a%.jpg", "a%2E.jpg"),
    *("Gr\u00fc\u00dfe.jpg", "Gru\u0308\u00dfe.jpg", "\u00e9.jpg", "e\u0301.jpg", "\U0001f4dc.jpg", "\u202egpj.jpg"),
    *("with space.jpg", " leading.jpg", "trailing .jpg", "quote'\".jpg", "back\\slash.jpg", "semi;colon&.jpg"),
    *("tab\t.jpg", "bell\a.jpg", "star*?.jpg", "$(id).jpg", "-rf.jpg", "~root.jpg", "con.jpg"),
    *("a.jpg/0001.avif", "b.tif/0001.avif", "b.tif/b.tif", "deep/er/a.jpg", "stats/pages/x.jpg", "runs/lease.jpg"),
    "n" * 240 + ".jpg",
]
DISK_NAMES = ["new\nline.jpg", "\r.jpg"]  # the test server does not support newlines
S3_NAMES = [
    *("../up.jpg", "x/../../up.jpg", "./here.jpg", "/rooted.jpg", "//twice.jpg", "x//y.jpg", "x/./y.jpg", "end./y.jpg"),
    *("/".join(["k" * 99] * 10) + ".jpg", "m" * (1024 - len("in/.jpg")) + ".jpg"),
]


@pytest.mark.promise(
    NO_COLLISION, "keys: Unicode twins, case twins, quotes, newlines, .., 1,024 bytes, outputs' own names"
)
@pytest.mark.parametrize("way", ["disk to disk", pytest.param("s3 to disk", marks=pytest.mark.slow), "s3 to s3"])
def test_hostile_keys(way: str, s3_server: S3Server, s3_url: str, tmp_path: Path, tally: Tally) -> None:
    bucket = s3_url.removeprefix("s3://")
    client = s3_server.client()
    chance = np.random.default_rng(5)
    sources: dict[str, bytes] = {}
    heights: dict[str, int] = {}
    is_on_disk = way.startswith("disk")
    for key in HOSTILE_NAMES + (DISK_NAMES if is_on_disk else S3_NAMES):
        if is_on_disk and key.split("/")[0] in sources:
            continue  # a disk cannot hold both
        heights[key] = 40 + len(heights)  # makes each page unique
        pixels = np.clip(chance.normal(200, 20, (heights[key], 60)), 0, 255).astype(np.uint8)
        sources[key] = saved(Image.fromarray(pixels), "PNG")
        if is_on_disk:
            (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / key).write_bytes(sources[key])
        else:
            client.put_object(Bucket=bucket, Key=f"in/{key}", Body=sources[key])
    storage = StorageSettings(endpoint_url=s3_server.endpoint_url)
    inside = tmp_path / "inside"
    source = str(tmp_path / "in") if is_on_disk else f"{s3_url}/in"
    dest = f"{s3_url}/out" if way.endswith("s3") else str(inside / "out")
    ended = compress(source, dest, folder=tmp_path, **s3_server.environment)
    assert ended.returncode == 0, ended.told

    rows = rows_by_document(dest, storage)
    store = Store(dest, storage)
    outputs = Counter(row["output_key"] for found in rows.values() for row in found)
    for key, data in sources.items():
        losses = [] if key in rows else [f"{key!r} has no row"]
        for row in rows.get(key, []):
            output = store.read_bytes(row["output_key"])
            height_px = read_page(output, 0, LimitSettings()).pixels.shape[0]
            losses += [] if height_px == heights[key] else [f"{key!r} leads to the page of another"]
            losses += [] if outputs[row["output_key"]] == 1 else [f"{row['output_key']!r} is shared"]
            losses += [] if row["source_sha256"] == hashlib.sha256(data).hexdigest() else [f"{key!r}: another source"]
        tally.add(losses, repr(key))
    assert rows.keys() == sources.keys()
    if not way.endswith("s3"):
        assert {path.name for path in inside.iterdir()} == {"out"}
        assert {path.name for path in (inside / "out").iterdir()} == {"pages", "stats", "runs", "evidence"}
    else:
        found = client.list_objects_v2(Bucket=bucket)["Contents"]
        assert {item["Key"].split("/")[0] for item in found} == {"in", "out"}
    assert tally.lost == 0


@pytest.mark.slow
@pytest.mark.promise(MANY_AT_ONCE, "8 runs into 8 DESTs at once on one machine")
def test_eight_runs_at_once(undisturbed: Undisturbed, tmp_path: Path, tally: Tally) -> None:
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    runs = [Run(undisturbed.source, folder / "out", *SMALL_SHARDS, folder=folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        ended = run.wait(1800)
        if ended.returncode == 2:
            tally.add([] if "free memory" in ended.told else [ended.told], "refused")
        else:
            losses = undisturbed.outcome.differences(outcome_of(str(folder / "out")))
            tally.add(losses + ([] if ended.returncode == undisturbed.exit_code else [ended.told]), "ended")
    assert tally.lost == 0
