"""Malicious documents end as an error of the document or page, in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bombs import BOMBS
from tests.promises import EVERY_FILE_HAS_ROWS

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS, MOST_MIB = 30, 900
KEPT_OR_FAILED = {
    *("too_large", "too_complex", "too_many_pages", "damaged", "unreadable"),
    *("unsupported_mode", "digital_page", "composed_page", "many_frames"),
}
FINE = {
    "fields in a ring",
    "fields in a tower",
    "metadata",
    "30 filters",
    "a million strips",
    "PNG profile",
    "PNG text",
    "PNG international text",
}
"""Of which the harmful part is not needed to read the page."""


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    told = subprocess.run(
        [sys.executable, "-m", "tests.bombs", str(tmp_path_factory.mktemp("bombs"))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=900,
        check=True,
    ).stdout
    found = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return {one["name"]: one for one in found}


@pytest.mark.timeout(900)
@pytest.mark.promise(
    EVERY_FILE_HAS_ROWS, "bombs: packed streams, content, fields, layers, tables, directories, scans, tiles"
)
@pytest.mark.parametrize("name", BOMBS)
def test_a_document_made_to_harm_ends_in_bounded_time_and_memory(name, costs):
    found = costs[name]
    assert found["told"] in KEPT_OR_FAILED | ({"fine"} if name in FINE else set()), found
    assert found["seconds"] < MOST_SECONDS and found["peak_mib"] < MOST_MIB, found
