"""Everything beside the pixels: what of it comes through which codec. docs/fidelity.md names these tests row by row."""

import io
import re
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs.encode import CODECS, LARGEST_JPEG_XMP_BYTES, Carried, carried_by, encode
from foliopress.tasks.images import isobmff, metadata
from foliopress.tasks.images.image_reader import read_header, read_page, with_profile_for

LIMITS = LimitSettings()
COLOUR = ["avif", "webp", "jpeg", "jp2", "jxl"]
ALL = [*COLOUR, "g4"]
NAMES = {
    "avif": "AVIF",
    "webp": "WebP",
    "jpeg": "JPEG",
    "jp2": "JPEG 2000",
    "jxl": "JPEG XL",
    "tiff": "JPEG in TIFF",
    "g4": "G4 TIFF",
}
TESTS = Path(__file__).parents[1]
TABLES = TESTS.parents[1] / "docs" / "fidelity.md"
RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED_PROFILE = (  # red's numbers mean green, and the other way round
    RGB_PROFILE.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
)
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description tiff:Orientation="%d" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>' + b" " * 2000 + b'<?xpacket end="w"?>'
)


def grey_profile(gamma=1.8):
    """A profile of a grey device with one curve (ICC.1:2010, 8.3.4)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    described = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    parts = {b"desc": described + bytes(-len(described) % 4), b"wtpt": white, b"kTRC": curve}
    at = 132 + 12 * len(parts)
    entries = struct.pack(">I", len(parts))
    for name, part in parts.items():
        entries += name + struct.pack(">II", at, len(part))
        at += len(part)
    header = bytearray(128)
    header[:4], header[8:24] = struct.pack(">I", at), b"\x02\x40\0\0mntrGRAYXYZ "
    header[36:40], header[68:80] = b"acsp", white[8:]
    return bytes(header) + entries + b"".join(parts.values())


def picture(height=48, width=64):
    """Colours in large fields, dark and light, so that every codec shows them."""
    fields = np.array([[[200, 60, 50], [240, 235, 220]], [[30, 40, 90], [70, 160, 80]]], np.uint8)
    return np.kron(fields, np.ones((height // 2, width // 2, 1), np.uint8))


def saved(pixels, form="JPEG", **options):
    buffer = io.BytesIO()
    options = {"quality": 95, **options} if form in ("JPEG", "WEBP", "AVIF") else options
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def jp2(exif=b"II*\0", xmp=None):
    return isobmff.jp2_with(saved(picture(), "JPEG2000"), None, None, exif.removeprefix(b"Exif\0\0"), xmp)


def output(data, codec, page_index=0):
    """A source through reading and writing; to `g4` goes what is lighter than middle grey."""
    page = with_profile_for(read_page(data, page_index, LIMITS), CODECS[codec].can_carry, 65_536)
    pixels = page.pixels
    if codec == "g4":
        pixels = (pixels if pixels.ndim == 2 else pixels.mean(axis=2)) >= 128
    return encode(pixels, codec, 90, carried_by(page), EncodeSettings())


def exif_of(data):
    """An output's EXIF as Pillow reads it, which knows nothing of how we wrote it."""
    beside = isobmff.beside_pixels(data)
    if beside.exif is None:
        return Image.open(io.BytesIO(data)).getexif()
    exif = Image.Exif()
    exif.load(beside.exif)
    return exif


def xmp_of(data):
    beside = isobmff.beside_pixels(data)
    return beside.xmp if beside.exif else Image.open(io.BytesIO(data)).info.get("xmp")


def camera_exif():
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x0131], exif[0x013B] = "Brief an M\xfcller", "Agfa", "ScanWizard 7", "Archiv"
    exif[0x8298] = "(c) 1905"
    exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = "2009:05:04 03:02:01"
    exif.get_ifd(ExifTags.IFD.Exif)[0xA002] = 9999
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[2] = (52.0, 30.0, 59.0)
    return exif.tobytes().replace(b"M?ller", b"M\xfcller")  # Pillow writes no umlaut


# ---------------------------------------------------------------- what is carried


@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("axes", [(300, 300), (204, 98)])
def test_the_resolution_of_both_axes_comes_through(codec, axes):
    page = read_page(output(saved(picture(), "TIFF", dpi=axes), codec), 0, LIMITS)
    assert page.dpi == pytest.approx(min(axes), abs=0.01)
    assert page.dpi_ratio == pytest.approx(axes[0] / axes[1], abs=0.01)


@pytest.mark.parametrize("codec", ALL)
def test_a_resolution_that_cannot_be_true_is_left_out(codec):
    data = output(saved(picture(), "TIFF", dpi=(20_000, 20_000)), codec)
    assert read_page(data, 0, LIMITS).dpi is None
    assert 0x011A not in exif_of(data)


def test_the_resolution_of_a_page_on_its_side_is_turned_with_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    page = read_page(saved(picture(), "JPEG", dpi=(204, 98), exif=exif), 0, LIMITS)
    assert (page.dpi, page.dpi_ratio) == (98, pytest.approx(98 / 204))


@pytest.mark.parametrize("codec", COLOUR)
def test_an_rgb_profile_comes_through_or_the_colours_are_converted(codec):
    data = output(saved(picture(), "PNG", icc_profile=SWAPPED_PROFILE), codec)
    page = read_page(data, 0, LIMITS)
    if codec == "jxl":
        assert page.icc is None
        assert np.abs(page.pixels[10, 10].astype(int) - (60, 200, 50)).max() < 30  # what its numbers meant
    else:
        assert page.icc == SWAPPED_PROFILE
        assert np.abs(page.pixels[10, 10].astype(int) - (200, 60, 50)).max() < 20


@pytest.mark.parametrize("codec", COLOUR)
def test_a_grey_profile_comes_through_or_the_greys_are_converted(codec):
    data = output(saved(np.full((48, 64), 100, np.uint8), "TIFF", icc_profile=grey_profile()), codec)
    page = read_page(data, 0, LIMITS)
    assert page.pixels.ndim == 2
    if codec in ("webp", "jxl"):
        srgb = 255 * (1.055 * (100 / 255) ** (1.8 / 2.4) - 0.055)  # IEC 61966-2-1
        assert page.icc is None and abs(int(page.pixels[10, 10]) - srgb) < 4
    else:
        assert page.icc == grey_profile() and abs(int(page.pixels[10, 10]) - 100) < 3


@pytest.mark.parametrize("codec", ["avif", "webp", "jpeg", "jp2"])
def test_a_grey_page_with_an_rgb_profile_stays_in_that_profile(codec):
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    page = read_page(output(saved(grey, "PNG", icc_profile=SWAPPED_PROFILE), codec), 0, LIMITS)
    assert page.icc == SWAPPED_PROFILE


def test_a_profile_of_another_space_than_the_pixels_or_a_broken_one_is_left_out():
    for icc in (grey_profile(), b"no profile", RGB_PROFILE[:200], bytes(128)):
        assert read_page(saved(picture(), "JPEG", icc_profile=icc), 0, LIMITS).icc is None


def test_a_page_of_one_bit_leaves_its_profile():
    data = saved(picture()[..., 0] > 128, "TIFF", icc_profile=grey_profile())
    assert "icc_profile" not in Image.open(io.BytesIO(output(data, "g4"))).info


@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "JPEG2000"])
def test_exif_comes_through_byte_for_byte(form, codec):
    source = jp2(camera_exif()) if form == "JPEG2000" else saved(picture(), form, exif=camera_exif())
    found = exif_of(output(source, codec))
    assert [found[tag] for tag in (0x010E, 0x010F, 0x0131, 0x013B, 0x8298)] == [
        "Brief an M\xfcller",
        "Agfa",
        "ScanWizard 7",
        "Archiv",
        "(c) 1905",
    ]
    details, place = found.get_ifd(ExifTags.IFD.Exif), found.get_ifd(ExifTags.IFD.GPSInfo)
    assert details[0x9003] == "2009:05:04 03:02:01"
    assert details[0xA002] == 64  # the page's width, which the source had wrong
    assert place[1] == "N" and [float(number) for number in place[2]] == [52, 30, 59]


@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("order", ["II", "MM"])
def test_the_descriptive_tags_of_a_tiff_come_through(codec, order):
    tags = {269: "Akte 12", 270: "Titelblatt", 285: "fol. 3", 306: "2009:05:04 03:02:01", 316: "pc7", 305: "Silverfast"}
    image = Image.fromarray(picture())
    if order == "MM":  # Pillow writes this mode alone so
        image = Image.frombytes("I;16B", (64, 48), (np.arange(64 * 48) * 20 + 300).astype(">u2").tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", tiffinfo=tags)
    data = buffer.getvalue()
    assert data[:2] == order.encode()
    found = exif_of(output(data, codec))
    assert {tag: found[tag] for tag in tags} == tags


@pytest.mark.parametrize("codec", ["avif", "g4"])
def test_each_page_of_a_tiff_keeps_its_own_tags(codec):
    frames = []
    for number in range(2):
        frames.append(Image.fromarray(picture()))
        frames[-1].encoderinfo = {"tiffinfo": {285: f"fol. {number}"}}
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:], tiffinfo={285: "fol. 0"})
    names = [exif_of(output(buffer.getvalue(), codec, number))[285] for number in range(2)]
    assert names == ["fol. 0", "fol. 1"]


@pytest.mark.parametrize("codec", ALL)
def test_iptc_comes_through_as_an_exif_tag(codec):
    iptc = b"\x1c\x02\x78\x00\x05Brief"  # 2:120, caption
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc
    data = with_segment(saved(picture()), 0xED, b"Photoshop 3.0\0" + block)
    assert exif_of(output(data, codec))[0x83BB] == iptc
    assert exif_of(output(saved(picture(), "TIFF", tiffinfo={33723: iptc}), codec))[0x83BB] == iptc


@pytest.mark.parametrize("codec", ALL)
def test_a_comment_and_the_texts_of_a_png_find_their_place_in_exif(codec):
    found = exif_of(output(saved(picture(), "JPEG", comment=b"Kasten 4"), codec))
    assert found.get_ifd(ExifTags.IFD.Exif)[0x9286] == b"ASCII\0\0\0Kasten 4"
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[0x9286] = b"ASCII\0\0\0Kasten 5"
    found = exif_of(output(saved(picture(), "JPEG", comment=b"Kasten 4", exif=exif.tobytes()), codec))
    assert found.get_ifd(ExifTags.IFD.Exif)[0x9286] == b"ASCII\0\0\0Kasten 5"
    png = saved(picture(), "PNG")
    texts = [chunk(b"tEXt", b"Author\0Archiv"), chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"Akte 12"))]
    texts.append(chunk(b"iTXt", b"Description\0\0\0\0\0" + "Müller".encode()))
    found = exif_of(output(png[:33] + b"".join(texts) + png[33:], codec))
    assert (found[0x013B], found[269]) == ("Archiv", "Akte 12")
    assert found[0x010E].encode("latin-1").decode() == "Müller"


@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP", "AVIF", "JPEG2000"])
def test_xmp_comes_through_without_its_padding(form, codec):
    if form == "PNG":
        png = saved(picture(), "PNG")
        data = png[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % 1) + png[33:]
    elif form == "JPEG2000":
        data = jp2(xmp=XMP % 1)
    else:
        data = saved(picture(), form, **({"tiffinfo": {700: XMP % 1}} if form == "TIFF" else {"xmp": XMP % 1}))
    assert xmp_of(output(data, codec)) == (XMP % 1).replace(b" " * 2000, b"\n")


@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("told_by", ["exif", "xmp", "both"])
def test_the_orientation_is_applied_once(codec, told_by):
    exif = Image.Exif()
    exif[0x0112] = 6
    both = {"exif": exif.tobytes(), "xmp": XMP % 6}
    data = saved(picture(), "JPEG", **({told_by: both[told_by]} if told_by != "both" else both))
    header, page = read_header(data, LIMITS).pages[0], read_page(data, 0, LIMITS)
    assert (header.height_px, header.width_px) == page.pixels.shape[:2] == (64, 48)
    assert np.abs(page.pixels.astype(int) - np.rot90(picture(), -1)).mean() < 5
    written = output(data, codec)
    assert exif_of(written).get(0x0112, 1) == 1
    assert re.findall(rb'Orientation="(\d)"', xmp_of(written) or b"") in ([], [b"1"])
    again = read_page(written, 0, LIMITS)
    assert again.pixels.shape[:2] == (64, 48)


def test_a_thumbnail_is_left_out():
    main = struct.pack("<HHHI4s", 1, 0x010F, 2, 4, b"HP \0")
    thumbnail = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, 60, 0x0202, 4, 1, 200) + bytes(4)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + main + struct.pack("<I", 26) + thumbnail
    exif += bytes(66 - len(exif)) + b"\xff\xd8" + b"thumbnail" * 22
    assert Image.open(io.BytesIO(saved(picture(), exif=exif))).getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == 200
    for codec in ALL:
        written = output(saved(picture(), exif=exif), codec)
        assert exif_of(written)[0x010F] == "HP " and b"thumbnail" not in written


# ---------------------------------------------------------------- our own mark


@pytest.mark.parametrize("codec", ALL)
def test_every_output_is_known_as_ours_and_says_so_beside_the_software_of_its_source(codec):
    data = saved(picture(), "TIFF", tiffinfo={305: "ScanWizard 7"})
    assert not read_header(data, LIMITS).is_ours
    written = output(data, codec)
    assert read_header(written, LIMITS).is_ours
    assert exif_of(written)[0x000B] == metadata.mark() and metadata.mark().startswith("Foliopress ")
    assert exif_of(written)[305] == "ScanWizard 7"
    assert b"Foliopress" not in (read_page(written, 0, LIMITS).exif or b"")  # a copy of the copy is signed anew


def test_another_kind_of_file_that_took_over_our_mark_is_not_ours():
    exif = Image.open(io.BytesIO(output(saved(picture()), "avif"))).info["exif"]
    assert read_header(saved(picture(), "JPEG", exif=exif), LIMITS).is_ours
    assert not read_header(saved(picture(), "PNG", exif=exif), LIMITS).is_ours
    assert not read_header(saved(picture(), "TIFF", exif=exif), LIMITS).is_ours


# ---------------------------------------------------------------- too large, broken, hostile


@pytest.mark.parametrize("codec", ALL)
def test_of_an_exif_block_that_is_too_long_the_largest_tags_are_left_out(codec):
    exif = Image.Exif()
    exif[0x010F] = "Agfa"
    exif.get_ifd(ExifTags.IFD.Exif)[0x927C] = bytes(70_000)  # maker note
    found = exif_of(output(saved(picture(), "WEBP", exif=exif.tobytes()), codec))
    assert found[0x010F] == "Agfa"
    assert 0x927C not in found.get_ifd(ExifTags.IFD.Exif)


@pytest.mark.parametrize("codec", ALL)
def test_an_xmp_packet_that_is_too_long_is_left_out(codec):
    for size, is_carried in ((LARGEST_JPEG_XMP_BYTES + 1, codec != "jpeg"), (metadata.LARGEST_XMP_BYTES + 1, False)):
        packet = (XMP % 1).replace(b"<rdf:RDF", b"<!--" + b"x" * size + b"--><rdf:RDF")
        assert bool(xmp_of(output(saved(picture(), "WEBP", xmp=packet), codec))) == is_carried


def test_as_much_as_fits_a_jpeg_fits_it():
    exif = Image.Exif()
    exif[0x010E] = "x" * (metadata.LARGEST_EXIF_BYTES - 100)
    for number in range(900):
        exif.get_ifd(ExifTags.IFD.Exif)[0xC000 + number] = 7
    written = output(saved(picture(), "WEBP", exif=exif.tobytes(), icc_profile=RGB_PROFILE), "jpeg")
    assert len(exif_of(written).get_ifd(ExifTags.IFD.Exif)) > 800
    assert 0x010E not in exif_of(written)
    png = saved(picture(), "PNG")
    texts = [chunk(b"tEXt", b"Title\0Akte 12"), chunk(b"tEXt", b"Comment\0" + b"x" * 100_000)]
    assert exif_of(output(png[:33] + b"".join(texts) + png[33:], "jpeg"))[269] == "Akte 12"


def chunk(kind, content, crc=None):
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def with_segment(jpeg, marker, content):
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def swapped(data, old, new):
    assert data.count(old) == 1
    return data.replace(old, new)


@cache
def broken_sources():
    png, jpeg = saved(picture(), "PNG"), saved(picture())
    loop = b"II*\0\x08\0\0\0\x01\0\x69\x87\4\0\1\0\0\0\x08\0\0\0"
    photoshop = b"Photoshop 3.0\0" + b"8BIM\x04\x04"
    tiff = saved(picture(), "TIFF", exif=camera_exif(), dpi=(300, 300))
    bomb = zlib.compress(bytes(50_000_000))
    return {
        "a text with a wrong sum": png[:33] + chunk(b"tEXt", b"Title\0x", crc=1) + png[33:],
        "a text that swells": png[:33] + chunk(b"zTXt", b"Title\0\0" + bomb) + png[33:],
        "a text that swells, behind": png[:-12] + chunk(b"zTXt", b"Comment\0\0" + bomb) + png[-12:],
        "a profile that swells": png[:33] + chunk(b"iCCP", b"x\0\0" + bomb) + png[33:],
        "a text named like a block": png[:33] + chunk(b"tEXt", b"icc_profile\0x") + png[33:],
        "a text named transparency": png[:33] + chunk(b"tEXt", b"transparency\0x") + png[33:],
        "a text without an end": png[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp") + png[33:],
        "exif that is none, in PNG": png[:33] + chunk(b"eXIf", b"junk") + png[33:],
        "exif that is none": with_segment(jpeg, 0xE1, b"Exif\0\0junk"),
        "exif without an end": with_segment(jpeg, 0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        "exif that points at itself": with_segment(jpeg, 0xE1, b"Exif\0\0" + loop),
        "JFIF cut short": with_segment(jpeg[:2] + jpeg[20:], 0xE0, b"JFIF\0\1"),
        "Photoshop cut short": with_segment(jpeg, 0xED, photoshop),
        "IPTC longer than its block": with_segment(
            jpeg, 0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\xff\xff\xff\xff"
        ),
        "XMP that is none": with_segment(jpeg, 0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe junk"),
        "one part of a profile": with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\x01\x09" + RGB_PROFILE[:300]),
        "AVIF with junk for exif": swapped(saved(picture(), "AVIF", exif=camera_exif()), b"MM\0*", b"junk"),
        "WebP with junk for exif": saved(picture(), "WEBP", exif=b"junk", xmp=b"junk"),
        "TIFF with a text for a resolution": swapped(
            swapped(tiff, struct.pack("<HHI", 0x011A, 5, 1), struct.pack("<HHI", 0x011A, 2, 8)),
            struct.pack("<HHII", 0x0128, 3, 1, 2),
            struct.pack("<HHII", 0x0128, 3, 1, 3),
        ),
        "TIFF whose exif lies outside": swapped(
            tiff, struct.pack("<HHI", 0x8769, 4, 1), struct.pack("<HHI", 0x8769, 16, 1)
        ),
    }


@pytest.mark.parametrize("what", broken_sources())
def test_a_broken_block_costs_no_page(what):
    data = broken_sources()[what]
    header, page = read_header(data, LIMITS), read_page(data, 0, LIMITS)
    assert (header.pages[0].height_px, header.pages[0].width_px) == page.pixels.shape[:2] == (48, 64)
    assert np.abs(page.pixels.astype(int) - picture()).mean() < 5
    assert output(data, "jpeg") and output(data, "g4")


@given(junk=st.binary(max_size=300))
@example(b"%PDF-")
@example(b"II*\0\x08\0\0\0" + b"\x01\0" + struct.pack("<HHII", 0x010F, 2, 2**32 - 1, 8))
@example(b"MM\0+\0\x08\0\0" + b"\xff" * 60)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_whatever_stands_in_the_blocks_the_pixels_are_read(form, junk):
    options = {"tiffinfo": {700: junk, 33723: junk, 270: junk}} if form == "TIFF" else {"exif": b"Exif\0\0" + junk}
    if form != "PNG":
        options["icc_profile"] = junk or b"-"
    page = read_page(saved(picture(), form, **options), 0, LIMITS)
    assert page.pixels.shape[0] * page.pixels.shape[1] == 48 * 64  # junk may be a true orientation
    for codec in ("avif", "g4"):
        pixels = page.pixels if codec == "avif" else page.pixels[..., 0] > 128
        assert read_header(encode(pixels, codec, 50, carried_by(page), EncodeSettings()), LIMITS).is_ours


def test_junk_to_carry_does_not_keep_a_page_from_being_written():
    for codec in ALL:
        pixels = picture() if codec != "g4" else picture()[..., 0] > 128
        written = encode(pixels, codec, 50, Carried(dpi=300.0, exif=b"junk"), EncodeSettings())
        assert read_page(written, 0, LIMITS).dpi == pytest.approx(300)


# ---------------------------------------------------------------- the document


def rows(text):
    """The rows of the tables that name tests, each as its cells."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    lines = [line for table in tables if "tests" in table.split("\n", 1)[0] for line in table.strip().split("\n")[2:]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_row_of_the_document_names_its_tests_and_no_test_here_is_without_a_row():
    here = {
        path.name: set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) for path in TESTS.rglob("*.py")
    }
    found = rows(TABLES.read_text())
    named = [set(re.findall(r"`(test_\w+)`", row[-1])) for row in found]
    assert len(found) > 20 and all(named)
    assert set().union(*named) <= set().union(*here.values())
    assert here[Path(__file__).name] <= set().union(*named) | {
        "test_every_row_of_the_document_names_its_tests_and_no_test_here_is_without_a_row",
        "test_the_document_has_a_column_for_every_codec",
    }


def test_the_document_has_a_column_for_every_codec():
    head = next(line for line in TABLES.read_text().split("\n") if line.startswith("| what"))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:-1] == [NAMES[codec] for codec in CODECS]
