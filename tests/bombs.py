"""Build malicious documents cheaply: each demands far more work or memory than its size suggests.

`python -m tests.bombs FOLDER NAME…` reads each in its own process and prints the outcome and the cost.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pikepdf import Array, Dictionary, Name, Pdf
from PIL import Image

from tests.papers import Sheet, flate, paper

GREY = np.full((300, 200), 200, np.uint8)
GREY[::7] = 40
MIB = 2**20


def zeros(n_bytes: int, filler: bytes = bytes(64)) -> bytes:
    """Return `n_bytes` of a filler, deflated, without holding them in memory."""
    packer, block = zlib.compressobj(9), filler * (MIB // len(filler))
    return b"".join([*(packer.compress(block) for _ in range(n_bytes // MIB)), packer.flush()])


def lzw(n_rounds: int) -> bytes:
    """Return 7,363,203 zeros per round as 5 kB of LZW (ISO 32000-1, 7.4.4): each code is one byte longer."""
    out, held, n_held, width = bytearray(), 0, 0, 9

    def put(code: int) -> None:
        nonlocal held, n_held
        held, n_held = held << width | code, n_held + width
        while n_held >= 8:
            n_held -= 8
            out.append(held >> n_held & 255)
            held &= (1 << n_held) - 1

    for _ in range(n_rounds):
        put(256)
        n_known, run, width = 258, 1, 9
        while n_known < 4094:
            put(0 if run == 1 else 256 + run)
            n_known += run > 1
            run += 1
            width = 9 if n_known < 511 else 10 if n_known < 1023 else 11 if n_known < 2047 else 12
    put(257)
    out.append(held << (8 - n_held) & 255)
    return bytes(out)


def image(data: bytes, *filters: Any, side_px: int = 100, **keys: Any) -> Callable[[Pdf], Any]:
    """Return a function that makes an image of grey pixels, encoded with the filters."""
    usual = {"ColorSpace": Name.DeviceGray, "BitsPerComponent": 8, "Filter": Array(filters)} | keys

    def made(pdf: Pdf) -> Any:
        own = {name: value(pdf) if callable(value) else value for name, value in usual.items()}
        return pdf.make_stream(data, Type=Name.XObject, Subtype=Name.Image, Width=side_px, Height=side_px, **own)

    return made


def content(data: bytes, filters: Any = Name.FlateDecode, n_pages: int = 1) -> bytes:
    """Return a document whose pages share one content stream."""

    def finish(pdf: Pdf) -> None:
        shared = pdf.make_indirect(pdf.make_stream(data, Filter=filters))
        for page in pdf.pages:
            page.obj.Contents = shared

    return paper(*[Sheet(None)] * n_pages, finish=finish)


def fields(pdf: Pdf, kids: Any) -> None:
    """Give a document a form with these fields."""
    pdf.Root.AcroForm = Dictionary(Fields=kids)


def field_cycle(pdf: Pdf) -> None:
    """Add form fields that contain one another."""
    first, second = (pdf.make_indirect(Dictionary(T=name)) for name in "ab")
    first.Kids, second.Kids = Array([second, first] * 50), Array([first, second] * 50)
    fields(pdf, Array([first]))


def field_tower(pdf: Pdf) -> None:
    """Add form fields that each contain the next one ten times."""
    inner = pdf.make_indirect(Dictionary(T="a"))
    for _ in range(2000):
        inner = pdf.make_indirect(Dictionary(T="a", Kids=Array([inner] * 10)))
    fields(pdf, Array([inner]))


def members(pdf: Pdf) -> None:
    """Add layer membership dictionaries that each contain the next one ten times."""
    inner = pdf.make_indirect(Dictionary(Type=Name.OCG, Name="a"))
    for _ in range(200):
        inner = pdf.make_indirect(Dictionary(Type=Name.OCMD, OCGs=Array([inner] * 10)))
    pdf.Root.OCProperties = Dictionary(OCGs=Array([]), D=Dictionary())
    pdf.pages[0].Resources.Properties = Dictionary(L=inner)


def nested_patterns(n_wide: int = 30, n_deep: int = 8, scan: np.ndarray = GREY) -> bytes:
    """Return a scan covered by a tiling pattern whose tiles use patterns, recursively."""

    def finish(pdf: Pdf) -> None:
        inner: Any = None
        for _ in range(n_deep):
            drawn = (b"/Pattern cs /P scn " if inner is not None else b"") + b"0 0 100 100 re f " * n_wide
            made = pdf.make_stream(drawn, Type=Name.Pattern, PatternType=1, PaintType=1, TilingType=1)
            made.BBox, made.XStep, made.YStep = Array([0, 0, 100, 100]), 100, 100
            made.Resources = Dictionary(Pattern=Dictionary(P=inner)) if inner is not None else Dictionary()
            inner = pdf.make_indirect(made)
        pdf.pages[0].Resources.Pattern = Dictionary(P=inner)

    return paper(Sheet(flate(scan), above=" /Pattern cs /P scn 0 0 500 800 re f "), finish=finish)


def raw_pdf(*objects: bytes) -> bytes:
    """Return a document of these raw objects, the first being the catalogue, without an xref table."""
    body = b"".join(b"%d 0 obj %s endobj\n" % (number + 1, one) for number, one in enumerate(objects))
    return b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R >>\n"


PAGES = b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"
LEAF = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>"


def deep_page_tree(n_deep: int) -> bytes:
    """Return a page below `n_deep` nodes."""
    nodes = [b"<< /Type /Pages /Count 1 /Kids [%d 0 R] >>" % (number + 3) for number in range(n_deep)]
    return raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Page /MediaBox [0 0 9 9] >>")


def tiff(n_directories: int, n_tags_behind: int = 0) -> bytes:
    """Return a TIFF of one-pixel pages; all but the first may have `n_tags_behind` overlapping tags each."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    length = 2 + len(entries) + 4
    if not n_tags_behind:
        starts = [8 + number * length for number in range(n_directories)] + [0]
        pages = [struct.pack("<H", len(tags)) + entries + struct.pack("<I", start) for start in starts[1:]]
        return struct.pack("<2sHI", b"II", 42, 8) + b"".join(pages)
    first, step, reach = 8 + length, 16, 2 + 12 * n_tags_behind
    data = bytearray(first + n_directories * step + reach + 4)
    data[:first] = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", first)
    for number in range(n_directories):
        at = first + number * step
        struct.pack_into("<H", data, at, n_tags_behind)
        struct.pack_into("<I", data, at + reach, at + step if number + 1 < n_directories else 0)
    return bytes(data)


def strips(n_strips: int) -> bytes:
    """Return a one-page TIFF with an empty strip for each row."""
    tags = {256: (4, 1, 10), 257: (4, 1, n_strips), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    at = 8 + 2 + 12 * 9 + 4
    tags |= {273: (4, n_strips, at), 278: (4, 1, 1), 279: (4, n_strips, at)}
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, 9) + entries + bytes(4) + bytes(4 * n_strips)


def png_with(name: bytes, head: bytes, n_bytes: int) -> bytes:
    """Return a PNG with a compressed chunk before its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "PNG")
    data, body = buffer.getvalue(), head + zeros(n_bytes)
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + chunk + data[33:]


def jpeg_of_scans(n_scans: int, side_px: int = 4000) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    Image.new("L", (side_px, side_px), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n_scans + data[-2:]


def jp2_of(n_tiles_across: int, n_components: int = 1) -> bytes:
    """Return a JPEG 2000 codestream that declares this many tiles each way but contains none."""
    side = n_tiles_across * 40
    size = struct.pack(">HIIIIIIII", 0, side, side, 0, 0, 40, 40, 0, 0) + struct.pack(">H", n_components)
    size += b"\7\1\1" * n_components
    coding = b"\xff\x52\0\x0c\0\0\0\1\0\5\4\4\0\1"
    quant = b"\xff\x5c\0\x13\x40" + b"\x40" * 16
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + coding + quant + b"\xff\xd9"


F, L, R = Name.FlateDecode, Name.LZWDecode, Name.RunLengthDecode
PREDICTED = Array([Dictionary(Predictor=15, Columns=2**31 - 1)])


def icc_bomb(pdf: Pdf) -> Any:
    return Array([Name.ICCBased, pdf.make_indirect(pdf.make_stream(zeros(256 * MIB), N=1, Filter=F))])


def palette_bomb(pdf: Pdf) -> Any:
    return Array([Name.Indexed, Name.DeviceGray, 255, pdf.make_stream(zeros(256 * MIB), Filter=F)])


def xmp_bomb(pdf: Pdf) -> None:
    pdf.Root.Metadata = pdf.make_stream(zeros(256 * MIB, b"<a>" + b" " * 61), Filter=F)


def object_stream_bomb() -> bytes:
    body = zeros(256 * MIB, b"1 ".ljust(64))
    head = b"<< /Type /ObjStm /N 1000000 /First 8 /Filter /FlateDecode /Length %d >> stream\n" % len(body)
    return raw_pdf(b"<< /Type /Catalog /Pages 2 0 R /X 9 0 R >>", PAGES, LEAF, head + body + b"\nendstream")


BOMBS: dict[str, Callable[[], bytes]] = {
    "256 MB behind a small image": lambda: paper(Sheet(image(zeros(256 * MIB), F))),
    "stacked Flate": lambda: paper(Sheet(image(zlib.compress(zeros(512 * MIB)), F, F))),
    "Flate over run lengths": lambda: paper(Sheet(image(zeros(16 * MIB, b"\x81\0" * 32), F, R))),
    "LZW": lambda: paper(Sheet(image(lzw(20), L))),
    "Flate over LZW": lambda: paper(Sheet(image(zlib.compress(lzw(20)), F, L))),
    "30 filters": lambda: paper(Sheet(image(b"x", *[F] * 30))),
    "wide predictor": lambda: paper(Sheet(image(zeros(MIB), F, DecodeParms=PREDICTED))),
    "wide CCITT": lambda: paper(
        Sheet(image(b"x", Name.CCITTFaxDecode, BitsPerComponent=1, DecodeParms=Array([Dictionary(Columns=2**31 - 1)])))
    ),
    "profile": lambda: paper(Sheet(image(zlib.compress(bytes(10_000)), F, ColorSpace=icc_bomb))),
    "palette": lambda: paper(Sheet(image(zlib.compress(bytes(10_000)), F, ColorSpace=palette_bomb))),
    "metadata": lambda: paper(Sheet(flate(GREY)), finish=xmp_bomb, fix_metadata_version=False),
    "object stream": object_stream_bomb,
    "content of zeros": lambda: content(zeros(256 * MIB)),
    "content of LZW": lambda: content(lzw(20), L),
    "content of q and Q": lambda: content(zeros(256 * MIB, b"q Q ")),
    "content of 6 MB": lambda: content(zeros(6 * MIB, b"q Q ")),
    "content of one array": lambda: content(zlib.compress(b"[" + b"0 " * 3 * MIB + b"] TJ")),
    "content of open arrays": lambda: content(zlib.compress(b"[" * 7 * MIB)),
    "content shared by all pages": lambda: content(zlib.compress(b"0 0 1 1 re f " * 80_000), n_pages=20),
    "fields in a ring": lambda: paper(Sheet(flate(GREY)), finish=field_cycle),
    "fields in a tower": lambda: paper(Sheet(flate(GREY)), finish=field_tower),
    "a million fields": lambda: raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [" + b"<</T(a)>>" * 1_000_000 + b"] >> >>", PAGES, LEAF
    ),
    "members in a tower": lambda: paper(Sheet(flate(GREY), above=" /OC /L BDC 0 0 1 1 re f EMC "), finish=members),
    "pages shared by their tree": lambda: shared_tree(),
    "deep page tree": lambda: deep_page_tree(20_000),
    "huge table of objects": lambda: (
        raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", PAGES, LEAF)
        + b"xref\n0 2147483647\n0000000000 65535 f \n"
        + b"trailer << /Root 1 0 R /Size 2147483647 >>\nstartxref\n190\n%%EOF\n"
    ),
    "many directories": lambda: tiff(50_000),
    "directories over one another": lambda: tiff(40_000, 999),
    "a million strips": lambda: strips(1_000_000),
    "PNG profile": lambda: png_with(b"iCCP", b"a\0\0", 256 * MIB),
    "PNG text": lambda: png_with(b"zTXt", b"a\0\0", 256 * MIB),
    "PNG international text": lambda: png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", 256 * MIB),
    "JPEG of 20,000 scans": lambda: jpeg_of_scans(20_000),
    "JPEG 2000 of 65,000 tiles": lambda: jp2_of(255),
    "JPEG 2000 of 16,000 components": lambda: jp2_of(50, 16_000),
}


def shared_tree() -> bytes:
    """Return a page tree whose nodes occur in their parents many times."""
    nodes = [
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (10**number, b"%d 0 R " % (number + 3) * 10) for number in range(8)
    ]
    return raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Page /MediaBox [0 0 9 9] >>")


@dataclass(frozen=True)
class Cost:
    """Result of reading a document: `fine`, or reason and message; with its processor time and memory."""

    told: str
    message: str
    seconds: float
    peak_mib: int


def _read(data: bytes) -> tuple[str, str]:
    from foliopress.configs.settings import LimitSettings, Settings
    from foliopress.flows.steps.document_plan import open_document
    from foliopress.tasks import documents
    from foliopress.tasks.errors import PageError
    from foliopress.tasks.storage.source_listing import Document

    settings = Settings(limits=LimitSettings(max_document_operations=1_000_000, max_document_pages=2000))
    source = open_document(Document("a.pdf", len(data), "1"), data, settings)
    if source.problem is not None:
        return source.problem.reason, source.problem.message
    assert source.header is not None
    problems = [page.problem for page in source.header.pages if page.problem is not None]
    if problems:
        return problems[0].reason, problems[0].message
    try:
        documents.read_page(data, 0, settings.limits)
    except PageError as error:
        return error.reason, error.message
    return "fine", ""


def cost_of(data: bytes) -> Cost:
    """Read a document in a fork of this process, and return the cost."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            try:
                told = _read(data)
            except BaseException as error:  # any exception is a result here
                told = f"raised {type(error).__name__}", str(error)
            os.write(writer, json.dumps(told).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    told, message = json.loads(said) if said else (f"ended by {status}", "")
    return Cost(told, message, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)


def main() -> None:
    import foliopress.tasks.documents  # noqa: F401 - once, for all forks

    folder = Path(sys.argv[1])
    for name in sys.argv[2:] or BOMBS:
        path = folder / name
        if not path.exists():
            build = os.fork()  # the cost of building is excluded
            if not build:
                path.write_bytes(BOMBS[name]())
                os._exit(0)
            os.waitpid(build, 0)
        print(
            json.dumps({"name": name, "bytes": path.stat().st_size, **asdict(cost_of(path.read_bytes()))}), flush=True
        )


if __name__ == "__main__":
    main()
