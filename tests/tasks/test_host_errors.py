"""Errors of the machine are told from errors of a page."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageCms

from foliopress.configs.settings import StorageSettings
from foliopress.tasks import host_errors
from foliopress.tasks.errors import HostError, PageError, StoreUnavailable
from foliopress.tasks.host_errors import as_host_error, host_error_of, raise_if_host_error
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.storage import partial_reads
from foliopress.tasks.storage.store import Store
from foliopress.tasks.witness import image_view

ROOT = Path(__file__).resolve().parents[2]

OF_THE_HOST = ["ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]


@pytest.mark.parametrize("name", OF_THE_HOST)
def test_what_the_system_has_no_more_of_is_the_machine_s(name: str) -> None:
    number = getattr(errno, name)
    found = host_error_of(OSError(number, os.strerror(number), "/tmp/page.pgm"))
    assert found is not None
    assert str(found).startswith(f"a worker's machine: {os.strerror(number)}: /tmp/page.pgm; ")


@pytest.mark.parametrize(
    "error",
    [
        OSError("broken data stream when reading image file"),  # as Pillow says it
        OSError(-2, "decoder error -2"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),  # a bad sector below a scan
        ValueError("no"),
        TimeoutError(),
        KeyError("x"),
    ],
    ids=["Pillow", "decoder", "gone", "denied", "bad sector", "value", "late", "key"],
)
def test_what_a_document_can_be_to_blame_for_is_not(error: Exception) -> None:
    assert host_error_of(error) is None
    raise_if_host_error(error, "decoding a page")


def test_a_package_that_is_missing_is_the_machine_s() -> None:
    try:
        import no_such_package  # type: ignore[import-not-found] # noqa: F401
    except ImportError as error:
        found = host_error_of(error)
    assert "No module named 'no_such_package'" in str(found)
    assert "install the same Foliopress on all workers" in str(found)


@pytest.mark.parametrize("name", [*OF_THE_HOST, "EIO", "ENOENT", "EACCES"])
def test_whatever_is_refused_for_files_of_our_own_is_the_machine_s(name: str) -> None:
    number = getattr(errno, name)
    with (
        pytest.raises(HostError, match=rf"host .*: writing a page: {os.strerror(number)}; "),
        as_host_error("writing a page"),
    ):
        raise OSError(number, os.strerror(number))


def test_trouble_of_a_machine_is_tried_again_like_a_store_s_and_travels_between_processes() -> None:
    trouble = host_error_of(OSError(errno.ENOSPC, "No space left on device"))
    again = pickle.loads(pickle.dumps(trouble))
    assert (type(again), str(again)) == (HostError, str(trouble))
    assert isinstance(again, StoreUnavailable)


def test_too_much_memory_for_any_machine_is_not_the_machine_s() -> None:
    with pytest.raises(MemoryError) as caught:
        bytearray(2**62)
    raise_if_host_error(caught.value, "decoding a page")


def test_memory_that_has_run_out_is_the_machine_s() -> None:
    script = (
        "import resource\n"
        "from foliopress.tasks.errors import HostError\n"
        "from foliopress.tasks.host_errors import raise_if_host_error\n"
        "import psutil\n"
        "most = psutil.Process().memory_info().vms + 2**28\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "try:\n"
        "    bytearray(2**29)\n"
        "except MemoryError as error:\n"
        "    try:\n"
        "        raise_if_host_error(error, 'decoding a page')\n"
        "    except HostError as trouble:\n"
        "        print(trouble)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "decoding a page: out of memory; give it more memory, or use fewer workers" in told


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the machine run out of memory."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(host_errors.mmap, "mmap", refuse)


IN_THEIR_WORDS = {
    "OpenCV": cv2.error("OpenCV(5.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    "Pillow": OSError("out of memory when reading image file"),
    "libavif": RuntimeError("avifDecoderNthImage returned AVIF_RESULT_OUT_OF_MEMORY"),
    "C++": RuntimeError("std::bad_alloc"),
}


@pytest.mark.parametrize("library", IN_THEIR_WORDS)
def test_a_library_may_say_in_its_own_words_that_memory_has_run_out(library: str, no_memory: None) -> None:
    with pytest.raises(HostError, match="decoding a page: out of memory"):
        raise_if_host_error(IN_THEIR_WORDS[library], "decoding a page")


@pytest.mark.parametrize("library", IN_THEIR_WORDS)
def test_where_there_is_memory_left_the_page_asked_for_too_much(library: str) -> None:
    raise_if_host_error(IN_THEIR_WORDS[library], "decoding a page")


def as_image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.tile(np.arange(0, 240, 2, np.uint8), (160, 1))).convert("RGB").save(file, kind)
    return file.getvalue()


NO_FILES = OSError(errno.EMFILE, "Too many open files")
PNG, AVIF, PDF = as_image("PNG"), as_image("AVIF"), as_image("PDF")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOOK = np.zeros((4, 4, 3), np.uint8)
DOINGS = {
    "drawing a page": ((pypdfium2, "PdfDocument"), NO_FILES, lambda: pdf_reader.render_page(PDF, 0, 72)),
    "drawing a page, memory": (
        (pypdfium2.PdfBitmap, "new_native"),
        MemoryError(),
        lambda: pdf_reader.render_page(PDF, 0, 72),
    ),
    "finding letters": ((pypdfium2, "PdfDocument"), NO_FILES, lambda: pdf_reader.LetterFinder(PDF).letters(0)),
    "opening a PDF": ((pikepdf, "open"), MemoryError(), lambda: pdf_reader.open_pdf(PDF)),
    "looking, OpenCV": (
        (cv2, "imdecodeWithMetadata"),
        IN_THEIR_WORDS["OpenCV"],
        lambda: image_view.look_at(PNG, 0, 72),
    ),
    "looking, AVIF": ((imagecodecs, "avif_decode"), MemoryError(), lambda: image_view.look_at(AVIF, 0, 72)),
    "reading a profile": ((Image, "open"), NO_FILES, lambda: image_view.profile_of(PNG)),
    "reading a resolution": ((Image, "open"), NO_FILES, lambda: image_view.pixel_aspect(PNG)),
    "using a profile": ((ImageCms, "profileToProfile"), NO_FILES, lambda: image_view.as_srgb(LOOK, PROFILE)),
}


@pytest.mark.parametrize("doing", DOINGS)
def test_what_the_machine_refuses_a_decoder_is_not_said_of_the_page(
    doing: str, no_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module, name), error, do = DOINGS[doing]

    def refuse(*_: object, **__: object) -> None:
        raise error

    do()
    monkeypatch.setattr(module, name, refuse)
    with pytest.raises(HostError):
        do()


def test_a_page_that_is_too_large_for_any_machine_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pypdfium2.PdfBitmap, "new_native", refuse)
    with pytest.raises(PageError) as caught:
        pdf_reader.render_page(PDF, 0, 72)
    assert (caught.value.reason, caught.value.failed) == ("too_large", False)


@pytest.mark.parametrize(
    ("error", "is_of_host"),
    [
        (ModuleNotFoundError("No module named 'imagecodecs'"), True),
        (imagecodecs.DelayedImportError("avif_decode"), False),
    ],
    ids=["package", "codec"],
)
def test_a_decoder_that_is_not_installed_is_the_machine_s_and_a_codec_that_was_not_built_is_not(
    error: ImportError, is_of_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(imagecodecs, "avif_decode", decode)
    if is_of_host:
        with pytest.raises(HostError, match="lacks a package"):
            image_view.look_at(AVIF, 0, 72)
    else:
        look = image_view.look_at(AVIF, 0, 72)
        assert look is not None and look.decoder == "opencv"


@pytest.mark.parametrize("size_bytes", [70_000, 3_000_000])
def test_a_large_document_that_has_no_room_here_is_not_said_to_be_unreadable(small_disk: Path, size_bytes: int) -> None:
    store = Store(f"memory://large-{size_bytes}", StorageSettings())
    store.write_bytes("book.pdf", b"%PDF" + bytes(size_bytes))
    with pytest.raises(HostError, match=rf"{small_disk}.*copying 'book.pdf': No space left on device; make room"):
        with partial_reads.opened(store, "book.pdf"):
            pass
    store.write_bytes("leaf.pdf", b"%PDF")
    with partial_reads.opened(store, "leaf.pdf") as file:
        assert file.read() == b"%PDF"
