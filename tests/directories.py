"""Build TIFFs with many directories: marked in any way, with masks, and with sub-directories."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

NEW_SUBFILE, OLD_SUBFILE, PHOTOMETRIC = 254, 255, 262


@dataclass
class Leaf:
    """A directory: grey uint8 or bool pixels, extra tags, and its sub-directories."""

    pixels: np.ndarray
    tags: dict[int, int] = field(default_factory=dict)
    inside: Sequence[Leaf] = ()


def tiff(*leaves: Leaf, order: str = "<", is_big: bool = False) -> bytes:
    """Return a TIFF, or a BigTIFF, of uncompressed images."""
    offset = "Q" if is_big else "I"
    out = bytearray(b"II" if order == "<" else b"MM")
    out += struct.pack(order + "HHHQ", 43, 8, 0, 0) if is_big else struct.pack(order + "HI", 42, 0)
    link = 8 if is_big else 4

    def write(leaf: Leaf) -> tuple[int, int]:
        """Return the offset of the directory, and that of its pointer to the next."""
        subs = [write(sub)[0] for sub in leaf.inside]
        is_bits = leaf.pixels.dtype == np.bool_
        stored = np.packbits(leaf.pixels, axis=1).tobytes() if is_bits else leaf.pixels.tobytes()
        strip = len(out)
        out.extend(stored + bytes(len(stored) % 2))
        height_px, width_px = leaf.pixels.shape[:2]
        tags = {256: width_px, 257: height_px, 258: 1 if is_bits else 8, 259: 1, 262: 1, 273: strip, 277: 1}
        tags |= {278: height_px, 279: len(stored)} | leaf.tags
        inline = struct.pack(f"{order}{len(subs)}I", *subs)
        if subs:
            tags[330] = len(out)
        if len(inline) > struct.calcsize(offset):
            out.extend(inline)
            inline = struct.pack(order + offset, tags[330])
        at = len(out)
        out.extend(struct.pack(order + ("Q" if is_big else "H"), len(tags)))
        for tag, value in sorted(tags.items()):
            count = len(subs) if tag == 330 else 1
            kind, shape = (3, "H") if tag in (258, 259, 262, 277) else (4, "I")
            stored = inline if tag == 330 else struct.pack(order + shape, value)
            out.extend(
                struct.pack(order + "HH" + offset, tag, kind, count) + stored.ljust(struct.calcsize(offset), b"\0")
            )
        end = len(out)
        out.extend(bytes(struct.calcsize(offset)))
        return at, end

    for leaf in leaves:
        at, end = write(leaf)
        struct.pack_into(order + offset, out, link, at)
        link = end
    return bytes(out)


def written_page(seed: int, shape: tuple[int, int] = (900, 640)) -> np.ndarray:
    """Return a grey page of lines of words, different for each seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", shape[::-1], 235)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(shape[0] / 40)
    words = "received of the board four pounds for coal and carriage to the parish school".split()  # noqa: SIM905
    step = shape[0] // 22
    for number in range(20):
        line = " ".join(rng.choice(words, rng.integers(2, 8)))
        draw.text((shape[1] // 12, step * (number + 1)), line, fill=30, font=font)
    return np.asarray(image)
