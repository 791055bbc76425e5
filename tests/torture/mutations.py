"""Mutate the bytes of real files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES
from tests.papers import Sheet, everything_else, flate, jpeg, paper, shown
from tests.torture.archives import pieces

_LARGEST_REAL_BYTES = 150_000
_HEADER_BYTES = 600

Rng = np.random.Generator

FORMATS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("jpg", "JPEG", {"quality": 90}),
    ("jpg", "JPEG", {"quality": 80, "progressive": True, "dpi": (300, 300)}),
    ("png", "PNG", {"dpi": (300, 300)}),
    ("tif", "TIFF", {"compression": "tiff_lzw"}),
    ("tif", "TIFF", {"compression": "jpeg"}),
    ("tif", "TIFF", {"compression": "tiff_adobe_deflate", "dpi": (300, 300)}),
    ("tif", "TIFF", {"compression": "group4"}),
    ("webp", "WEBP", {"quality": 85}),
    ("jp2", "JPEG2000", {}),
    ("avif", "AVIF", {"quality": 75, "speed": 9}),
    ("bmp", "BMP", {}),
)


def base_files(scans: Path | None, seed: int) -> list[tuple[str, bytes]]:
    """Return files to mutate with their suffixes: small pieces in every format, and the small files of the scans."""
    chance = np.random.default_rng(seed)
    source = pieces(scans, chance)
    files = []
    for ending, name, options in FORMATS:
        for _ in range(4):
            image = next(source)
            if options.get("compression") == "group4":
                image = image.convert("1")
            buffer = io.BytesIO()
            image.save(buffer, name, **options)
            files.append((ending, buffer.getvalue()))
    leaves = [next(source).convert("L") for _ in range(3)]
    buffer = io.BytesIO()
    leaves[0].save(buffer, "TIFF", save_all=True, append_images=leaves[1:], compression="tiff_lzw")
    files.append(("tif", buffer.getvalue()))
    for made in (jpeg, flate):
        sheets = [Sheet(made(np.asarray(next(source).convert(mode)))) for mode in ("L", "RGB")]
        files.append(("pdf", paper(*sheets, Sheet(None, above=shown("typed")), finish=everything_else)))
    return files + _small_real_files(scans)


def _small_real_files(scans: Path | None) -> list[tuple[str, bytes]]:
    if scans is None:
        return []
    with (scans / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "image"]
    small = [scans / row["path"] for row in rows if int(row["bytes"]) <= _LARGEST_REAL_BYTES]
    return [
        (path.suffix.lower().lstrip("."), path.read_bytes())
        for path in sorted(small)
        if path.suffix.lower() in DOCUMENT_SUFFIXES
    ]


def mutated(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Return the file with one or two mutations."""
    for _ in range(int(chance.integers(1, 3))):
        change = MUTATIONS[int(chance.integers(len(MUTATIONS)))]
        data = change(data, others, chance)
    return data


def _flipped(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Flip some bits, half of the time in the header."""
    found = bytearray(data)
    reach = min(len(found), _HEADER_BYTES) if chance.random() < 0.5 else len(found)
    for _ in range(int(chance.integers(1, 17)) if reach else 0):
        found[int(chance.integers(reach))] ^= 1 << int(chance.integers(8))
    return bytes(found)


def _truncated(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    return data[: int(chance.integers(len(data) + 1))]


def _spliced(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Replace the header by that of another file."""
    other = others[int(chance.integers(len(others)))]
    length = int(chance.integers(4, _HEADER_BYTES))
    return other[:length] + data[length:]


def _with_large_number(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Overwrite four bytes with a huge or odd number, like a size or an offset."""
    if len(data) < 8:
        return data
    number = [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, len(data), 65535][int(chance.integers(8))]
    reach = min(len(data), _HEADER_BYTES) if chance.random() < 0.7 else len(data)
    place = int(chance.integers(reach - 3)) if reach > 4 else 0
    order = "big" if chance.random() < 0.5 else "little"
    return data[:place] + number.to_bytes(4, order) + data[place + 4 :]


def _moved(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Remove a piece, or insert one twice."""
    first, last = sorted(int(place) for place in chance.integers(0, len(data) + 1, 2))
    last = min(last, first + 4096)
    return data[:first] + data[last:] if chance.random() < 0.5 else data[:last] + data[first:]


def _noise(data: bytes, others: Sequence[bytes], chance: Rng) -> bytes:
    """Overwrite a piece with noise."""
    first = int(chance.integers(len(data) + 1))
    length = min(len(data) - first, int(chance.integers(1, 512)))
    return data[:first] + chance.bytes(length) + data[first + length :]


MUTATIONS: tuple[Callable[[bytes, Sequence[bytes], Rng], bytes], ...] = (
    *(_flipped, _flipped, _truncated, _spliced, _with_large_number, _with_large_number, _moved, _noise),
)


def write_mutations(root: Path, n_files: int, scans: Path | None, seed: int = 0) -> list[str]:
    """Write mutated files into a folder and return their keys, in order; the same seed gives the same files."""
    files = base_files(scans, seed)
    others = [data for _, data in files]
    keys = []
    for number in range(n_files):
        chance = np.random.default_rng([seed, number])
        ending, data = files[number % len(files)]
        key = f"{number // 500:02d}/{number:05d}.{ending}"
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutated(data, others, chance))
        keys.append(key)
    return keys
