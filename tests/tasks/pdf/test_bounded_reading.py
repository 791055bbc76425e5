"""Test that PDF streams have a bounded decoded size, and that errors of pikepdf become page errors."""

import os
import zlib

import imagecodecs
import numpy as np
import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pikepdf import Array, Name, StreamDecodeLevel

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.pdf.bounded_reading import apply_filters, decoded_stream, lzw_size, pdf_errors, run_length_size
from foliopress.tasks.work_budget import WorkBudget
from tests.bombs import MIB, lzw, zeros

EVERY_KIND = [
    *(pikepdf.PdfError, pikepdf.PasswordError, pikepdf.DataDecodingError, pikepdf.ForeignObjectError),
    *(pikepdf.DependencyError, pikepdf.DeletedObjectError, pikepdf.QpdfRuntimeError, pikepdf.ReferenceCycleError),
    *(pikepdf.PikepdfError, pikepdf.UnsupportedImageTypeError, pikepdf.exceptions.InvalidPdfImageError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError, OverflowError),
    *(NotImplementedError, SyntaxError, ZeroDivisionError, SystemError, AssertionError, UnicodeDecodeError),
]


@pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.__name__)
def test_whatever_pikepdf_raises_is_the_problem_of_a_page(kind):
    error = kind("utf-8", b"", 0, 1, "odd") if kind is UnicodeDecodeError else kind("odd")
    with pytest.raises(PageError) as caught, pdf_errors("the page cannot be read"):
        raise error
    assert (caught.value.reason, caught.value.failed) == ("damaged", True)
    assert "the page cannot be read" in caught.value.message and "odd" in caught.value.message


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OSError("disk"), PageError("signed", "it is signed")])
def test_what_is_not_the_document_s_fault_passes_through(error):
    with pytest.raises(type(error)) as caught, pdf_errors("the page cannot be read"):
        raise error
    assert caught.value is error


def unpacked_by_qpdf(data, filter_):
    with pikepdf.new() as document:
        made = document.make_stream(data, Filter=filter_)
        return bytes(made.read_bytes(StreamDecodeLevel.specialized))


@given(st.lists(st.integers(0, 255), max_size=4000), st.integers(1, 60))
def test_the_size_of_lzw_is_known_before_it_is_unpacked(values, times):
    data = imagecodecs.lzw_encode(bytes(values) * times)
    assert lzw_size(data, 10**9) == len(values) * times


@pytest.mark.parametrize("n_rounds", [1, 3])
def test_lzw_that_is_cleared_again_and_again_is_followed_as_qpdf_does(n_rounds):
    assert lzw_size(lzw(n_rounds), 10**9) == n_rounds * 7_363_203
    assert len(unpacked_by_qpdf(lzw(1), Name.LZWDecode)) == 7_363_203


@given(st.binary(max_size=400))
def test_the_size_of_run_lengths_is_known_before_they_are_unpacked(data):
    try:
        size = len(unpacked_by_qpdf(data + b"\x80", Name.RunLengthDecode))
    except pikepdf.PikepdfError:
        return
    assert run_length_size(data + b"\x80", 10**9) >= size  # a run that is cut off counts whole


def test_run_lengths_after_the_end_mark_are_counted_since_qpdf_decodes_them():
    data = b"\x80" + 1000 * b"\x81A" + b"\x80"
    assert len(unpacked_by_qpdf(data, Name.RunLengthDecode)) == 128_000
    assert run_length_size(data, 10**9) == 128_000


F, L, R = "/FlateDecode", "/LZWDecode", "/RunLengthDecode"


@pytest.mark.parametrize(
    ("names", "data"),
    [
        ([F], zeros(4 * MIB)),
        ([F, F], zlib.compress(zeros(4 * MIB))),
        ([L], lzw(1)),
        ([F, L], zlib.compress(lzw(1))),
        ([R], b"\x81\0" * 20_000),
        ([F, R], zlib.compress(b"\x81\0" * 20_000)),
        (["/ASCIIHexDecode", F], zeros(4 * MIB).hex().encode() + b">"),
    ],
    ids=lambda value: "+".join(name.strip("/") for name in value) if isinstance(value, list) else "data",
)
def test_packed_data_stop_at_the_bound_and_come_whole_below_it(names, data):
    most = 2 * MIB
    with pikepdf.new() as document:
        stream = document.make_stream(data, Filter=Array([Name(name) for name in names]))
        for read in (
            lambda most: apply_filters(data, names, [None] * len(names), most),
            lambda most: decoded_stream(stream, None, most),
        ):
            with pytest.raises(PageError) as caught:
                read(most)
            assert (caught.value.reason, caught.value.failed) == ("too_large", False)
            whole = read(64 * MIB)
            assert len(whole) > most and not any(whole)


def test_what_a_document_may_unpack_bounds_each_of_its_streams():
    budget = WorkBudget(LimitSettings(max_unpacked_bytes=3 * MIB))
    with pikepdf.new() as document:
        small, large = (document.make_stream(zeros(n * MIB), Filter=Name.FlateDecode) for n in (2, 2))
        assert len(decoded_stream(small, budget)) == 2 * MIB
        with pytest.raises(PageError):
            decoded_stream(large, budget)


def test_limits_of_qpdf_are_the_same_after_a_bound_as_before():
    before = pikepdf.settings.get_qpdf_limits()
    with pikepdf.new() as document:
        stream = document.make_stream(np.bytes_(os.urandom(100)).tobytes())
        decoded_stream(stream, None, 1000)
        with pytest.raises(PageError):
            decoded_stream(stream, None, 10)
    assert pikepdf.settings.get_qpdf_limits() == before
