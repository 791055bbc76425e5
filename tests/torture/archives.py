"""Build archives for the torture tests: small pages of every kind, so that a run over many takes seconds."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.papers import Sheet, flate, jpeg, paper, shown

Image.MAX_IMAGE_PIXELS = None

PIECE_PX = (180, 300)
_ONE_BIT_BELOW = 140


def write_archive(root: Path, n_pages: int, scans: Path | None, seed: int = 0) -> Path:
    """Write an archive of at least `n_pages` pages: grey, colour and bitonal, single and in three-page documents.

    Args:
        root: Folder to write to.
        n_pages: Number of pages.
        scans: Root of the real scans that the pages are cut from; without them they are drawn.
        seed: The same seed gives the same pages.
    """
    chance = np.random.default_rng(seed)
    images = pieces(scans, chance)
    written = 0
    number = 0
    while written < n_pages:
        folder = root / f"box {number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        piece = next(images)
        form = number % 6
        if form == 0:
            more = [next(images).convert("L") for _ in range(2)]
            piece.convert("L").save(
                folder / f"{number:03d}.tif", save_all=True, append_images=more, compression="tiff_lzw", dpi=(150, 150)
            )
            written += 2
        elif form == 1:
            one_bit = piece.convert("L").point(lambda level: 255 * (level >= _ONE_BIT_BELOW)).convert("1")
            one_bit.save(folder / f"{number:03d}.tif", compression="tiff_lzw", dpi=(150, 150))
        elif form == 2:
            piece.save(folder / f"{number:03d}.png", dpi=(150, 150))
        else:
            piece.save(folder / f"{number:03d}.jpg", quality=92, dpi=(150, 150))
        written += 1
        number += 1
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more of it")
    (root / "kept.pdf").write_bytes(paper(Sheet(None, above=shown("kept as it is"))))
    one, two = (np.asarray(next(images).convert("RGB")) for _ in range(2))
    (root / "act.pdf").write_bytes(paper(Sheet(jpeg(one)), Sheet(flate(two)), Sheet(None, above=shown("typed"))))
    return root


def pieces(scans: Path | None, chance: np.random.Generator) -> Iterator[Image.Image]:
    """Yield small pages endlessly: pieces of real scans if available, else drawn ones."""
    return _pieces_of_scans(scans, chance) if scans else _drawn_pieces(chance)


def _pieces_of_scans(scans: Path, chance: np.random.Generator) -> Iterator[Image.Image]:
    with (scans / "manifest.csv").open(encoding="utf-8", newline="") as file:
        paths = [
            row["path"]
            for row in csv.DictReader(file)
            if row["role"] == "image" and row["split"] == "train" and row["format"] == "JPEG"
        ]
    height_px, width_px = PIECE_PX
    while True:
        with Image.open(scans / str(chance.choice(sorted(paths)))) as opened:
            opened.draft(None, (opened.width // 2, opened.height // 2))
            image = opened.convert("RGB") if opened.mode != "L" else opened.copy()
        for _ in range(6):  # opening is slow
            left = int(chance.integers(0, max(1, image.width - width_px)))
            top = int(chance.integers(0, max(1, image.height - height_px)))
            yield image.crop((left, top, min(left + width_px, image.width), min(top + height_px, image.height)))


def _drawn_pieces(chance: np.random.Generator) -> Iterator[Image.Image]:
    height_px, width_px = PIECE_PX
    while True:
        grain = chance.normal(225, 6, (height_px, width_px, 3)) - (0, 4, 16)
        image = Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        for number in range(4):
            words = " ".join(chance.choice(["paid", "letter", "1887", "court", "from", "42.50", "received"], 3))
            pen.text((20, 15 + 40 * number), words, fill=(30, 30, 40), font=ImageFont.load_default(22))
        yield image
