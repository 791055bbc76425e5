"""Further images in a file: independent ones keep it whole, dependent ones are named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_frames, tiff_ifd
from foliopress.tasks.images.image_reader import read_header
from foliopress.tasks.images.isobmff import box, boxes
from tests.directories import written_page

LIMITS = LimitSettings()
PAGE, OTHER = (Image.fromarray(written_page(seed, (600, 440))) for seed in (1, 2))


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def left_out(data):
    (page,) = read_header(data, LIMITS).pages
    return page.left_out


def reason(data):
    with pytest.raises(PageError) as told:
        read_header(data, LIMITS)
    assert not told.value.failed
    return told.value.reason


def avif_with(data, items, references, primary=1):
    """Return an AVIF with another list of items, whose box grows into the free box after it."""

    def full(kind, content, version=0):
        return box(kind, bytes([version, 0, 0, 0]) + content)

    entries = b"".join(
        box(b"infe", struct.pack(">BBBBHH4sB", 2, 0, 0, hidden, number, 0, kind, 0)) for number, kind, hidden in items
    )
    links = b"".join(box(kind, struct.pack(">HHH", one, 1, other)) for kind, one, other in references)
    out, grown = b"", 0
    for kind, start, end in boxes(data):
        content = data[start:end]
        if kind == b"meta":
            parts = [(inner, content[a:b]) for inner, a, b in boxes(content, 4)]
            new = [box(inner, part) for inner, part in parts if inner not in (b"iinf", b"iref", b"pitm")]
            new += [full(b"pitm", struct.pack(">H", primary)), full(b"iref", links)]
            new += [full(b"iinf", struct.pack(">H", len(items)) + entries)]
            content = content[:4] + b"".join(new)
            grown = len(content) - (end - start)
        out += box(kind, content)
    places = out.index(b"iloc")
    assert out[places + 4] == 0 and out[places + 8] == 0x44  # places of 4 bytes
    at = places + 4 + 4 + 2 + 2 + 2 + 2 + 2  # to the first place of the only item
    (place,) = struct.unpack_from(">I", out, at)
    return out[:at] + struct.pack(">I", place + grown) + out[at + 4 :]


COLOUR = [(1, b"av01", 0)]


@pytest.mark.parametrize(
    ("items", "references", "told"),
    [
        ([], [], ()),
        ([(2, b"av01", 0)], [], None),
        ([(2, b"grid", 0)], [], None),
        ([(2, b"av01", 1)], [], ()),
        ([(2, b"av01", 0)], [(b"thmb", 2, 1)], ("item 2: a thumbnail",)),
        ([(2, b"av01", 0)], [(b"auxl", 2, 1)], ("item 2: an auxiliary image",)),
        ([(2, b"av01", 0), (3, b"av01", 0)], [(b"thmb", 3, 2)], None),
    ],
)
def test_an_avif_with_another_image_is_kept_and_thumbnails_are_named(items, references, told):
    data = avif_with(saved(PAGE.convert("RGB"), "AVIF"), COLOUR + items, references)
    if told is None:
        assert reason(data) == "many_frames"
    else:
        assert left_out(data) == told


def test_the_tiles_of_a_grid_are_no_images_of_their_own():
    data = avif_with(saved(PAGE, "AVIF"), [*COLOUR, (2, b"grid", 0)], [(b"dimg", 2, 1)], primary=2)
    assert image_frames.find_other_images(data, "AVIF") == image_frames.OtherImages()
    tone_map = avif_with(saved(PAGE, "AVIF"), [*COLOUR, (2, b"tmap", 0)], [(b"dimg", 2, 1)])
    assert left_out(tone_map) == ("item 2: the same picture for brighter screens",)


def test_texts_of_an_avif_are_no_images():
    exif = with_thumbnail(PAGE.resize((110, 150)))
    assert len(left_out(saved(PAGE, "AVIF", exif=exif, xmp=b"<x:xmpmeta/>"))) == 1


def test_an_alpha_of_an_avif_is_no_image_that_is_left_out():
    glass = PAGE.convert("RGBA")
    glass.putalpha(200)
    assert left_out(saved(glass, "AVIF")) == ()


@pytest.mark.parametrize("form", ["AVIF", "WEBP", "PNG"])
def test_a_sequence_is_kept(form):
    rgb = [image.convert("RGB") for image in (PAGE, OTHER)]
    assert reason(saved(rgb[0], form, save_all=True, append_images=rgb[1:])) == "many_frames"


def test_a_png_with_a_default_image_beside_its_only_frame_is_kept():
    assert reason(saved(PAGE, "PNG", save_all=True, default_image=True, append_images=[OTHER])) == "many_frames"


def test_a_png_that_counts_its_frames_wrongly_is_kept():
    data = saved(PAGE, "PNG", save_all=True, append_images=[OTHER])
    at = data.index(b"acTL")
    chunk = b"acTL" + struct.pack(">II", 1, 0)
    lying = data[:at] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at + 16 :]
    assert Image.open(io.BytesIO(lying)).n_frames == 1
    assert reason(lying) == "many_frames"


def test_a_jpeg_2000_of_several_codestreams_is_kept():
    data, other = saved(PAGE, "JPEG2000"), saved(OTHER, "JPEG2000")
    (start,) = (start for kind, start, _ in boxes(other) if kind == b"jp2c")
    assert left_out(data) == ()
    assert reason(data + other[start - 8 :]) == "many_frames"
    assert reason(data + other[start - 8 : -20]) == "many_frames"  # cut off, but there


def with_index(first, others, *, kinds=None, xmp=b""):
    """Return a JPEG with a multi-picture index, and the images after it (CIPA DC-007)."""
    marks = kinds or [0x020003] * len(others)
    index = tiff_ifd.Directory(">")
    size = 16 * (len(others) + 1)
    index.tags[0xB000], index.tags[0xB001] = (
        tiff_ifd.Tag(tiff_ifd.UNDEFINED, b"0100"),
        index.of(tiff_ifd.LONG, len(others) + 1),
    )
    index.tags[0xB002] = tiff_ifd.Tag(tiff_ifd.UNDEFINED, bytes(size))
    length = len(tiff_ifd.block(index)) + 6
    place = len(first) + len(xmp) + length + 2 - (2 + len(xmp) + 8)
    entries = struct.pack(">LLLHH", 0x20030000, len(first), 0, 0, 0)
    for kind, other in zip(marks, others, strict=True):
        entries += struct.pack(">LLLHH", kind, len(other), place, 0, 0)
        place += len(other)
    index.tags[0xB002] = tiff_ifd.Tag(tiff_ifd.UNDEFINED, entries)
    segment = b"\xff\xe2" + struct.pack(">H", length) + b"MPF\0" + tiff_ifd.block(index)
    return first[:2] + xmp + segment + first[2:] + b"".join(others)


def test_a_jpeg_with_more_pictures_behind_it_is_kept_if_its_index_says_so():
    first, other = saved(PAGE, "JPEG"), saved(OTHER, "JPEG")
    assert left_out(first + other) == ()  # what follows without being listed is a phone's own
    assert reason(with_index(first, [other])) == "many_frames"
    packet = b"http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version='1.0' hdrgm:Version=\"1.0\"/>"
    xmp = b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet
    gain_map = with_index(first, [other], kinds=[0], xmp=xmp)
    assert left_out(gain_map) == ("a gain map for brighter screens",)
    assert reason(with_index(first, [other, other], kinds=[0, 0], xmp=xmp)) == "many_frames"
    broken = with_index(first, [other]).replace(b"MPF\0MM", b"MPF\0??")
    assert reason(broken) == "many_frames"


def with_thumbnail(thumbnail):
    """Return an EXIF block with a JPEG in its second directory."""
    stored = saved(thumbnail, "JPEG", quality=60) if isinstance(thumbnail, Image.Image) else thumbnail
    first = struct.pack("<HHHII", 1, 0x0128, 3, 1, 2) + struct.pack("<I", 26)
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(stored)) + bytes(4)
    return b"Exif\0\0II*\0\x08\0\0\0" + first + second + stored


def in_bars(image):
    canvas = Image.new("L", (160, 120), 0)
    small = image.resize((88, 120))
    canvas.paste(small, (36, 0))
    return canvas


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_a_thumbnail_of_the_page_is_named_and_one_of_another_page_keeps_the_document(form):
    small = PAGE.resize((110, 150), Image.Resampling.BOX)
    for thumbnail in (small, small.rotate(90, expand=True), in_bars(PAGE)):
        size = f"{thumbnail.height} x {thumbnail.width}"
        assert left_out(saved(PAGE.convert("RGB"), form, exif=with_thumbnail(thumbnail))) == (
            f"a thumbnail in EXIF of {size} pixels",
        )
    half = Image.new("L", PAGE.size, 235)
    half.paste(Image.new("L", (150, 400), 40), (20, 120))
    for thumbnail in (half.resize((110, 150)), in_bars(half)):
        assert reason(saved(PAGE.convert("RGB"), form, exif=with_thumbnail(thumbnail))) == "many_frames"


def test_a_thumbnail_that_cannot_be_read_is_named():
    assert left_out(saved(PAGE, "JPEG", exif=with_thumbnail(b"\xff\xd8 and no more"))) == ("a thumbnail in EXIF",)
    assert left_out(saved(PAGE, "JPEG")) == ()


def test_blank_pages_with_blank_thumbnails_are_read():
    blank = Image.fromarray(np.full((400, 300), 250, np.uint8))
    assert left_out(saved(blank, "JPEG", exif=with_thumbnail(blank.resize((75, 100))))) != ()
