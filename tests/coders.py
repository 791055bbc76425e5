"""Produce encodings found in PDFs that no library writes directly, from those that one does."""

import io
import struct

import numpy as np
from PIL import Image

_END_OF_LINE = "000000000001"


def bits_of(data):
    return "".join(f"{byte:08b}" for byte in data)


def packed(bits):
    return bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))


def fax(pixels, compression="group4", **tags):
    """Return the single strip of a fax; True is white and so are its runs."""
    buffer = io.BytesIO()
    tiffinfo = {262: 0, 278: len(pixels)} | {int(tag.removeprefix("t")): value for tag, value in tags.items()}
    Image.fromarray(pixels).save(buffer, "TIFF", compression=compression, tiffinfo=tiffinfo)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        (start,), (size,) = image.tag_v2[273], image.tag_v2[279]
    return buffer.getvalue()[start : start + size]


def lines_of_group_3(pixels):
    """Return the bits of each line, without end-of-line codes."""
    return bits_of(fax(pixels, "group3")).split(_END_OF_LINE)[1 : len(pixels) + 1]


def lines_of_group_4(pixels):
    """Return the bits of each line, which depend on the line above: the difference that one more line makes."""
    codes = [bits_of(fax(pixels[:n])).rpartition(2 * _END_OF_LINE)[0] for n in range(1, len(pixels) + 1)]
    return [code[len(before) :] for before, code in zip(["", *codes], codes, strict=False)]


def byte_aligned(lines):
    """Return lines that each start on a byte boundary."""
    return b"".join(packed(line) for line in lines)


def jbig2(pixels):
    """Return a page with one generic region, encoded as a fax (ITU-T T.88, 7.4.6 with MMR); True is white."""
    height_px, width_px = pixels.shape
    page = struct.pack(">4IBH", width_px, height_px, 0, 0, 0, 0)
    region = struct.pack(">4IBB", width_px, height_px, 0, 0, 0, 1) + fax(pixels)
    return b"".join(
        struct.pack(">IBBBI", number, kind, 0, 1, len(data)) + data
        for number, (kind, data) in enumerate([(48, page), (38, region)])
    )


def grey_profile(gamma=2.2):
    """Return an ICC profile of a grey device with one curve."""
    parts = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"Grey\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2),
    }
    at, entries = 132 + 12 * len(parts), struct.pack(">I", len(parts))
    for name, part in parts.items():
        entries += name + struct.pack(">II", at, len(part))
        at += len(part)
    header = bytearray(128)
    header[:4], header[8:24] = struct.pack(">I", at), b"\x02\x40\0\0scnrGRAYXYZ "
    header[24:36], header[36:40] = struct.pack(">6H", 2006, 9, 8, 14, 33, 0), b"acsp"
    header[68:80] = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return bytes(header) + entries + b"".join(parts.values())


def with_markers(jpeg, *, jfif, adobe=None):
    """Return a JPEG from Pillow with or without the JFIF marker, and with Adobe's transform marker."""
    assert jpeg[2:4] == b"\xff\xe0"
    end = 4 + int.from_bytes(jpeg[4:6])
    own = b"" if adobe is None else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe])
    return jpeg[:2] + (jpeg[2:end] if jfif else b"") + own + jpeg[end:]


def planes_as_jpeg(pixels):
    """Return a JPEG whose three components are the planes themselves, without markers or names that identify them."""
    buffer = io.BytesIO()
    Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(pixels[..., n])) for n in range(3)]).save(
        buffer, "JPEG", quality=95, subsampling=0
    )
    return with_markers(buffer.getvalue(), jfif=False)
