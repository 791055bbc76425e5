"""Test the decoding of images by filter, colour space and /Decode, compared with pdfium's rendering."""

import base64
import io
import zlib

import imagecodecs
import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name
from PIL import Image, ImageCms

from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs import encode
from foliopress.tasks.documents import read_header, read_page
from foliopress.tasks.errors import PageError
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.image_streams import CodedImage
from foliopress.tasks.pdf.pdf_writer import NewPage, rewrite_pdf
from tests import coders
from tests.papers import Sheet, paper
from tests.scanners import LARGE, lattice, scanner_profile

HEIGHT_PX, WIDTH_PX = 40, 60
ROW, COL = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
GREY = (30 + 3 * COL + ROW).astype(np.uint8)
COLOUR = np.dstack([GREY, (220 - 4 * ROW).astype(np.uint8), (40 + 2 * COL + 2 * ROW).astype(np.uint8)])
LINES = (COL // 7 + ROW // 5) % 3 > 0  # True is 1
PALETTE = bytes(
    np.clip(np.stack([255 - np.arange(256), np.arange(256) // 2 + 60, np.arange(256)], 1), 0, 255).astype("u1")
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WHITE = [0.9505, 1, 1.089]


def stream(data, keys, size=(HEIGHT_PX, WIDTH_PX)):
    """Return a function that makes an image of data; callable values get its document."""

    def made(document):
        own = {name: value(document) if callable(value) else value for name, value in keys.items()}
        usual = {
            "Type": Name.XObject,
            "Subtype": Name.Image,
            "Height": size[0],
            "Width": size[1],
            "BitsPerComponent": 8,
        }
        return document.make_stream(data, **(usual | own))

    return made


def sheet(made):
    return Sheet(made, matrix=(WIDTH_PX, 0, 0, HEIGHT_PX, 0, 0), more={"/MediaBox": [0, 0, WIDTH_PX, HEIGHT_PX]})


def in_rgb(pixels):
    return (pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)).astype(int)


def icc(profile, n):
    return lambda document: Array([Name.ICCBased, document.make_indirect(document.make_stream(profile, N=n))])


def indexed(colours, base=Name.DeviceRGB):
    n_values = 1 if base == Name.DeviceGray else 3

    def made(document):
        own = base(document) if callable(base) and not isinstance(base, pikepdf.Object) else base
        return Array([Name.Indexed, own, len(colours) // n_values - 1, pikepdf.String(colours)])

    return made


def jpeg_of(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def jp2_of(pixels, bits=8):
    return imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, bitspersample=bits, codecformat="jp2")


def flate_of(pixels, bits=8):
    rows = pixels.reshape(len(pixels), -1)
    if bits == 16:
        return zlib.compress((rows.astype(">u2") * 257).tobytes())
    spread = (rows[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    return zlib.compress(np.packbits(spread.reshape(len(rows), -1), axis=1).tobytes())


def run_length_of(pixels):
    data = pixels.tobytes()
    return (
        b"".join(bytes([len(part) - 1]) + part for part in (data[at : at + 128] for at in range(0, len(data), 128)))
        + b"\x80"
    )


EIGHT_BITS = {
    "flate": lambda pixels: (flate_of(pixels), {"Filter": Name.FlateDecode}),
    "ascii85 flate": lambda pixels: (
        base64.a85encode(flate_of(pixels)) + b"~>",
        {"Filter": Array([Name.ASCII85Decode, Name.FlateDecode])},
    ),
    "run length": lambda pixels: (run_length_of(pixels), {"Filter": Name.RunLengthDecode}),
    "none": lambda pixels: (pixels.tobytes(), {}),
    "jpeg": lambda pixels: (jpeg_of(pixels), {"Filter": Name.DCTDecode}),
    "flate jpeg": lambda pixels: (
        zlib.compress(jpeg_of(pixels)),
        {"Filter": Array([Name.FlateDecode, Name.DCTDecode])},
    ),
    "jpx": lambda pixels: (jp2_of(pixels), {"Filter": Name.JPXDecode}),
}
SPACES = {
    "grey": (GREY, Name.DeviceGray),
    "calibrated grey": (GREY, Array([Name.CalGray, Dictionary(WhitePoint=WHITE, Gamma=2.2)])),
    "grey profile": (GREY, icc(coders.grey_profile(), 1)),
    "palette": (GREY, indexed(PALETTE)),
    "grey palette": (GREY, indexed(bytes(range(255, -1, -1)), Name.DeviceGray)),
    "profiled palette": (GREY, indexed(PALETTE, icc(SRGB, 3))),
    "rgb": (COLOUR, Name.DeviceRGB),
    "calibrated rgb": (
        COLOUR,
        Array([Name.CalRGB, Dictionary(WhitePoint=[1, 1, 1], Gamma=[2.2, 2.2, 2.2])]),
    ),
    "rgb profile": (COLOUR, icc(SRGB, 3)),
}
DECODES = {"as usual": None, "reversed": (1, 0), "partial": (0.2, 0.7), "past the ends": (-0.5, 1.4)}


def assert_is_painted(data, tolerance, mean_written=3):
    """Compare our pixels, and those written back, with pdfium's rendering."""
    drawn = in_rgb(pdf_reader.render_page(data, 0, 72))
    page = read_page(data, 0, LimitSettings())
    assert np.abs(in_rgb(page.pixels) - drawn).max() <= tolerance
    for codec in ("jpeg", "jp2"):
        image = CodedImage(encode.encode(page.pixels, codec, 95, encode.CarriedMetadata(), EncodeSettings()), codec)
        again = rewrite_pdf(data, [NewPage(0, image)])
        assert np.abs(in_rgb(pdf_reader.render_page(again, 0, 72)) - drawn).mean() <= mean_written
        assert np.abs(in_rgb(read_page(again, 0, LimitSettings()).pixels) - in_rgb(page.pixels)).mean() <= mean_written


def assert_is_kept(data):
    with pytest.raises(PageError) as caught:
        read_page(data, 0, LimitSettings())
    assert caught.value.reason in ("unsupported_mode", "colour_space", "damaged") and not caught.value.failed


def with_decode(keys, decode, n_samples, most):
    ends = DECODES[decode]
    return keys if ends is None else keys | {"Decode": Array([most * end for end in ends] * n_samples)}


@pytest.mark.parametrize("decode", DECODES)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("coding", EIGHT_BITS)
def test_eight_bits_are_painted_as_pdfium_draws_them(coding, space, decode):
    pixels, own_space = SPACES[space]
    data, keys = EIGHT_BITS[coding](pixels)
    keys = with_decode(keys, decode, 1 if pixels.ndim == 2 else 3, 255 if "palette" in space else 1)
    data = paper(sheet(stream(data, {"ColorSpace": own_space} | keys)))
    is_unclear = decode != "as usual" and (space == "calibrated rgb" or (coding == "jpx" and space != "rgb"))
    is_unclear = is_unclear or (decode == "past the ends" and ("palette" in space or space == "calibrated grey"))
    if is_unclear:  # the standard and pdfium disagree
        assert_is_kept(data)
        return
    # pdfium converts the grey profile, whose 2.2 is not quite sRGB's curve, and rounds down after /Decode
    assert_is_painted(data, 12 if space == "grey profile" else 5 if "palette" in space else 2)


@pytest.mark.parametrize("decode", DECODES)
@pytest.mark.parametrize("bits", [1, 2, 4, 16])
@pytest.mark.parametrize("space", ["grey", "palette", "rgb", "rgb profile"])
def test_samples_of_other_depths_are_painted_as_pdfium_draws_them(space, bits, decode):
    if space == "palette" and (bits == 16 or decode in ("partial", "past the ends")):
        return  # there are none with 16 bits, and between two colours viewers round either way
    pixels, own_space = SPACES[space]
    pixels = pixels if bits == 16 else pixels >> (8 - bits)
    if space == "palette":
        own_space = indexed(PALETTE[: 3 * 2**bits])
    keys = {"Filter": Name.FlateDecode, "BitsPerComponent": bits, "ColorSpace": own_space}
    keys = with_decode(keys, decode, 1 if pixels.ndim == 2 else 3, 2**bits - 1 if space == "palette" else 1)
    assert_is_painted(paper(sheet(stream(flate_of(pixels, bits), keys))), 2, 12 if bits < 8 else 3)


BILEVEL = {
    "group 4": (coders.fax(LINES), Name.CCITTFaxDecode, {"K": -1}),
    "group 3": (coders.fax(LINES, "group3"), Name.CCITTFaxDecode, {"K": 0}),
    "group 3 without ends of lines": (
        coders.packed("".join(coders.lines_of_group_3(LINES))),
        Name.CCITTFaxDecode,
        {"K": 0},
    ),
    "group 3 in two dimensions": (coders.fax(LINES, "group3", t292=1), Name.CCITTFaxDecode, {"K": 4}),
    "aligned group 3": (
        coders.byte_aligned(coders.lines_of_group_3(LINES)),
        Name.CCITTFaxDecode,
        {"K": 0, "EncodedByteAlign": True},
    ),
    "aligned group 4": (
        coders.byte_aligned(coders.lines_of_group_4(LINES)),
        Name.CCITTFaxDecode,
        {"K": -1, "EncodedByteAlign": True},
    ),
    "jbig2": (coders.jbig2(LINES), Name.JBIG2Decode, {}),
    "flate": (flate_of(LINES.astype(np.uint8), 1), Name.FlateDecode, {}),
}
BILEVEL_SPACES = {
    "grey": Name.DeviceGray,
    "black and white": indexed(b"\0\0\0\xff\xff\xff"),
    "white and black": indexed(b"\xff\xff\xff\0\0\0"),
    "blue on cream": indexed(bytes([20, 40, 160, 250, 240, 200])),
    "grey palette": indexed(bytes([40, 220]), Name.DeviceGray),
}


@pytest.mark.parametrize("decode", [None, (0, 1), (1, 0)])
@pytest.mark.parametrize("space", BILEVEL_SPACES)
@pytest.mark.parametrize(
    ("coding", "is_black_one"),
    [(name, is_black_one) for name in BILEVEL for is_black_one in (False, True) if not is_black_one or "group" in name],
)
def test_one_bit_is_painted_as_pdfium_draws_it(coding, space, is_black_one, decode):
    data, name, parameters = BILEVEL[coding]
    keys = {"Filter": name, "ColorSpace": BILEVEL_SPACES[space], "BitsPerComponent": 1}
    if name == Name.CCITTFaxDecode:
        keys["DecodeParms"] = Dictionary(Columns=WIDTH_PX, BlackIs1=is_black_one, **parameters)
    if decode:
        keys["Decode"] = Array(decode)
    data = paper(sheet(stream(data, keys)))
    drawn = in_rgb(pdf_reader.render_page(data, 0, 72))
    page = read_page(data, 0, LimitSettings())
    assert np.array_equal(in_rgb(page.pixels), drawn)
    assert page.is_bitonal == (space in ("grey", "black and white", "white and black"))
    assert len(np.unique(page.pixels.reshape(HEIGHT_PX * WIDTH_PX, -1), axis=0)) == 2
    if page.is_bitonal:
        image = CodedImage(
            encode.encode(page.pixels >= 128, "g4", 100, encode.CarriedMetadata(), EncodeSettings()), "g4"
        )
        assert np.array_equal(in_rgb(pdf_reader.render_page(rewrite_pdf(data, [NewPage(0, image)]), 0, 72)), drawn)
    else:
        assert_is_painted(data, 0, 12)


@pytest.mark.parametrize("jfif", [False, True])
@pytest.mark.parametrize("adobe", [None, 0, 1])
@pytest.mark.parametrize("told", [None, 0, 1])
def test_a_jpegs_own_marker_goes_before_the_dictionary_and_both_before_a_guess(jfif, adobe, told):
    data = coders.with_markers(jpeg_of(COLOUR), jfif=jfif, adobe=adobe)
    keys = {"Filter": Name.DCTDecode, "ColorSpace": Name.DeviceRGB}
    if told is not None:
        keys["DecodeParms"] = Dictionary(ColorTransform=told)
    data = paper(sheet(stream(data, keys)))
    if adobe == 0 and jfif:  # one declares RGB, the other YCbCr
        assert_is_kept(data)
    else:
        assert_is_painted(data, 2)


def test_planes_of_rgb_in_a_jpeg_are_not_transformed_where_the_dictionary_says_so():
    keys = {"Filter": Name.DCTDecode, "ColorSpace": Name.DeviceRGB, "DecodeParms": Dictionary(ColorTransform=0)}
    data = paper(sheet(stream(coders.planes_as_jpeg(COLOUR), keys)))
    assert np.abs(read_page(data, 0, LimitSettings()).pixels.astype(int) - COLOUR).mean() < 3
    assert_is_painted(data, 2)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(
    ("space", "bits"), [("palette", 1), ("palette", 2), ("palette", 4), ("palette", 8), (None, 8), (Name.DeviceGray, 8)]
)
def test_jpeg_2000_of_few_bits_fills_its_range_or_its_palette(space, bits, is_signed):
    values = (GREY >> (8 - bits)).astype(np.uint8)
    data = bytearray(jp2_of(values, bits))
    if is_signed:  # the same numbers, shifted by half their range by a decoder (ISO 15444-1, A.5.1 and G.1)
        data[data.index(b"\xff\x4f\xff\x51") + 42] |= 0x80
    else:
        assert np.array_equal(imagecodecs.jpeg2k_decode(bytes(data)).astype(int), values)
    keys = {"Filter": Name.JPXDecode}
    expected = in_rgb(np.rint(values * (255 / (2**bits - 1))).astype(np.uint8))
    if space == "palette":
        keys["ColorSpace"] = indexed(PALETTE[: 3 * 2**bits])
        expected = np.frombuffer(PALETTE, np.uint8).reshape(-1, 3)[values].astype(int)
    elif space is not None:
        keys["ColorSpace"] = space
    page = read_page(paper(sheet(stream(bytes(data), keys))), 0, LimitSettings())
    assert np.array_equal(in_rgb(page.pixels), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("space", [None, Name.DeviceGray])
def test_jpeg_2000_of_few_bits_of_grey_stays_as_it_is_since_viewers_show_other_tones(space, bits):
    keys = {"Filter": Name.JPXDecode} | ({} if space is None else {"ColorSpace": space})
    data = paper(sheet(stream(jp2_of((GREY >> (8 - bits)).astype(np.uint8), bits), keys)))
    with pytest.raises(PageError, match="different tones") as kept:
        read_page(data, 0, LimitSettings())
    assert (kept.value.reason, kept.value.failed) == ("unsupported_mode", False)


SHORT = {
    "grey": (GREY, 8, Name.DeviceGray, None),
    "reversed": (GREY, 8, Name.DeviceGray, (1, 0)),
    "rgb": (COLOUR, 8, Name.DeviceRGB, None),
    "palette": (GREY, 8, indexed(PALETTE), None),
    "one bit": (LINES.astype(np.uint8), 1, Name.DeviceGray, None),
    "four bits": (GREY >> 4, 4, Name.DeviceGray, (1, 0)),
}


@pytest.mark.parametrize("is_cut_before", [True, False], ids=["samples cut", "code cut"])
@pytest.mark.parametrize("kind", SHORT)
def test_rows_that_are_not_there_look_as_pdfium_draws_them(kind, is_cut_before):
    pixels, bits, space, decode = SHORT[kind]
    noise = np.random.default_rng(3).integers(0, 2**bits, pixels.shape).astype(np.uint8)
    data = flate_of(noise, bits)
    data = (
        zlib.compress(zlib.decompress(data)[: len(zlib.decompress(data)) // 2 + 1])
        if is_cut_before
        else data[: len(data) // 2]
    )
    keys = {"Filter": Name.FlateDecode, "BitsPerComponent": bits, "ColorSpace": space}
    if decode:
        keys["Decode"] = Array(decode)
    data = paper(sheet(stream(data, keys)))
    assert (
        np.abs(in_rgb(read_page(data, 0, LimitSettings()).pixels) - in_rgb(pdf_reader.render_page(data, 0, 72))).max()
        <= 1
    )


LAB = Array([Name.Lab, Dictionary(WhitePoint=WHITE)])
TINTED = Array([Name.CalRGB, Dictionary(WhitePoint=WHITE, Matrix=[0.5, 0.2, 0, 0.3, 0.7, 0.1, 0.3, 0.1, 0.9])])
NOT_READ = {
    "more values than the space has": (jpeg_of(COLOUR), {"Filter": Name.DCTDecode, "ColorSpace": Name.DeviceGray}),
    "fewer values": (jpeg_of(GREY), {"Filter": Name.DCTDecode, "ColorSpace": icc(SRGB, 3)}),
    "another size": (jpeg_of(GREY), {"Filter": Name.DCTDecode, "ColorSpace": Name.DeviceGray, "Height": 39}),
    "fewer values in a jpx": (jp2_of(GREY), {"Filter": Name.JPXDecode, "ColorSpace": Name.DeviceRGB}),
    "a palette cut short": (
        flate_of(GREY),
        {"Filter": Name.FlateDecode, "ColorSpace": Array([Name.Indexed, Name.DeviceRGB, 255, b"abc"])},
    ),
    "tinted greys": (flate_of(COLOUR), {"Filter": Name.FlateDecode, "ColorSpace": TINTED}),
    "a narrower fax": (
        coders.fax(LINES),
        {
            "Filter": Name.CCITTFaxDecode,
            "ColorSpace": Name.DeviceGray,
            "BitsPerComponent": 1,
            "DecodeParms": Dictionary(K=-1, Columns=WIDTH_PX - 8),
        },
    ),
    "a broken fax": (
        b"\x12\x99" * 40,
        {
            "Filter": Name.CCITTFaxDecode,
            "ColorSpace": Name.DeviceGray,
            "BitsPerComponent": 1,
            "DecodeParms": Dictionary(K=-1, Columns=WIDTH_PX),
        },
    ),
    "three bits": (flate_of(GREY), {"Filter": Name.FlateDecode, "ColorSpace": Name.DeviceGray, "BitsPerComponent": 3}),
    "no such filter": (b"abc", {"Filter": Name.Lamp, "ColorSpace": Name.DeviceGray}),
    "a wrong predictor": (
        flate_of(GREY),
        {"Filter": Name.FlateDecode, "ColorSpace": Name.DeviceGray, "DecodeParms": Dictionary(Predictor=77)},
    ),
    "no jbig2": (b"abc", {"Filter": Name.JBIG2Decode, "ColorSpace": Name.DeviceGray, "BitsPerComponent": 1}),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_what_cannot_be_read_keeps_its_page_and_harms_no_other(kind):
    data, keys = NOT_READ[kind]
    data = paper(
        sheet(stream(data, keys)),
        sheet(stream(flate_of(GREY), {"Filter": Name.FlateDecode, "ColorSpace": Name.DeviceGray})),
    )
    assert_is_kept(data)
    assert np.array_equal(read_page(data, 1, LimitSettings()).pixels, GREY)


@pytest.mark.parametrize(
    "keys",
    [
        {
            "SMask": lambda document: stream(
                flate_of(GREY), {"Filter": Name.FlateDecode, "ColorSpace": Name.DeviceGray, "Matte": [0]}
            )(document)
        },
        {"Mask": [0, 20]},
        {"SMaskInData": 1},
    ],
    ids=["matte", "colour key", "mask in the data"],
)
def test_an_image_whose_colours_hang_on_its_mask_is_not_coded_anew(keys):
    noise = np.random.default_rng(3).integers(0, 256, (120, 180)).astype(np.uint8)
    data = paper(
        sheet(stream(flate_of(noise), {"Filter": Name.FlateDecode, "ColorSpace": Name.DeviceGray} | keys, (120, 180)))
    )
    (header,) = read_header(data, LimitSettings()).pages
    assert (header.problem.reason, header.parts) == ("composed_page", ())


def tinted_lamp():
    """Return a scanner's profile with tinted greys."""
    red, green, blue = lattice().T
    return scanner_profile(
        np.stack([100 * (0.3 * red + 0.6 * green + 0.1 * blue), 80 * (red - green) + 9, 70 * (green - blue) + 14], 1)
    )


@pytest.mark.parametrize("profile", [LARGE, tinted_lamp(), SRGB])
@pytest.mark.parametrize("codec", ["jpeg", "jp2"])
def test_a_grey_image_in_the_place_of_rgb_keeps_its_tone(codec, profile):
    data = paper(
        sheet(stream(flate_of(np.dstack([GREY] * 3)), {"Filter": Name.FlateDecode, "ColorSpace": icc(profile, 3)}))
    )
    page = read_page(data, 0, LimitSettings())
    assert np.array_equal(page.pixels, GREY)
    again = rewrite_pdf(
        data,
        [NewPage(0, CodedImage(encode.encode(GREY, codec, 95, encode.CarriedMetadata(), EncodeSettings()), codec))],
    )
    error = in_rgb(pdf_reader.render_page(again, 0, 72)) - in_rgb(pdf_reader.render_page(data, 0, 72))
    assert np.abs(error).mean() <= 3 and np.abs(error.mean(axis=(0, 1))).max() <= 2


def test_a_grey_image_in_calibrated_rgb_stays_calibrated():
    space = Array(
        [
            Name.CalRGB,
            Dictionary(
                WhitePoint=WHITE,
                Gamma=[1.8, 1.8, 1.8],
                Matrix=[0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505],
            ),
        ]
    )
    data = paper(sheet(stream(flate_of(np.dstack([GREY] * 3)), {"Filter": Name.FlateDecode, "ColorSpace": space})))
    again = rewrite_pdf(
        data,
        [NewPage(0, CodedImage(encode.encode(GREY, "jpeg", 95, encode.CarriedMetadata(), EncodeSettings()), "jpeg"))],
    )
    with pdf_reader.open_pdf(again) as document:
        written = document.pages[0].Resources.XObject.Im0.ColorSpace
        assert written[0] == Name.CalGray and float(written[1].Gamma) == 1.8
    assert (
        np.abs(in_rgb(pdf_reader.render_page(again, 0, 72)) - in_rgb(pdf_reader.render_page(data, 0, 72))).mean() <= 3
    )
