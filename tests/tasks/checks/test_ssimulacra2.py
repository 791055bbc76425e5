"""SSIMULACRA 2, compared with the package of that name."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foliopress.tasks.checks import ssimulacra2


def drawn(height_px, width_px, seed=0, colour=True):
    """Return strokes on toned paper with some grain."""
    rng = np.random.default_rng(seed)
    page = np.full((height_px, width_px, 3), (232, 220, 196), np.uint8)
    for _ in range(max(3, height_px * width_px // 2000)):
        start = int(rng.integers(width_px)), int(rng.integers(height_px))
        end = start[0] + int(rng.integers(-30, 30)), start[1] + int(rng.integers(-30, 30))
        cv2.line(page, start, end, [int(value) for value in rng.integers(0, 160, 3)], int(rng.integers(1, 5)))
    page = np.clip(page + rng.normal(0, 3, page.shape), 0, 255).astype(np.uint8)
    return page if colour else cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)


def harmed(page, strength, seed=1):
    """Return a page with blur, noise and a shift of tone of given strengths."""
    noise = np.random.default_rng(seed).normal(0, 6 * strength, page.shape)
    blurred = cv2.GaussianBlur(page, (0, 0), 0.3 + strength)
    return np.clip(blurred + noise + 4 * strength, 0, 255).astype(np.uint8)


def of_package(tmp_path, source, other):
    package = pytest.importorskip("ssimulacra2")
    files = [str(tmp_path / name) for name in ("source.png", "other.png")]
    for file, pixels in zip(files, (source, other), strict=True):
        Image.fromarray(pixels).save(file)
    return package.compute_ssimulacra2(*files)


@pytest.mark.parametrize("shape", [(8, 8), (9, 300), (64, 64), (301, 255), (700, 523), (1025, 900)])
@pytest.mark.parametrize("strength", [0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("colour", [True, False])
def test_the_score_is_the_packages_whatever_the_size(tmp_path, shape, strength, colour):
    source = drawn(*shape, colour=colour)
    other = harmed(source, strength)
    (score,) = ssimulacra2.scores(source, [other])
    assert score == pytest.approx(of_package(tmp_path, source, other), abs=0.01)


@pytest.mark.parametrize("quality", [15, 60, 90])
def test_a_coded_page_scores_what_the_package_says(tmp_path, quality):
    source = drawn(500, 700, seed=3)
    Image.fromarray(source).save(tmp_path / "coded.jpg", quality=quality)
    other = np.asarray(Image.open(tmp_path / "coded.jpg"))
    (score,) = ssimulacra2.scores(source, [other])
    assert score == pytest.approx(of_package(tmp_path, source, other), abs=0.002)


def test_strips_do_not_show(monkeypatch):
    source = drawn(300, 200)
    other = harmed(source, 0.5)
    (at_once,) = ssimulacra2.scores(source, [other])
    for rows in (1, 7, 64):
        monkeypatch.setattr(ssimulacra2, "_STRIP_PX", 200 * rows)
        assert ssimulacra2.scores(source, [other])[0] == pytest.approx(at_once, abs=1e-5)


@given(st.integers(8, 90), st.integers(8, 90), st.booleans(), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_page_is_itself_and_what_is_harmed_is_less(height_px, width_px, colour, seed):
    source = drawn(height_px, width_px, seed, colour)
    scores = ssimulacra2.scores(source, [source, harmed(source, 1.0), harmed(source, 4.0)])
    assert scores[0] == 100.0
    assert 100.0 > scores[1] > scores[2]


def test_each_of_several_pictures_gets_the_score_that_it_gets_alone():
    source = drawn(120, 90)
    others = [harmed(source, 2.0), source, harmed(source, 0.2)]
    assert ssimulacra2.scores(source, others) == [ssimulacra2.scores(source, [other])[0] for other in others]
    assert ssimulacra2.scores(source, []) == []


def test_a_grey_picture_is_one_of_three_equal_channels():
    source = drawn(90, 120, colour=False)
    other = harmed(source, 0.7)
    as_rgb = [np.repeat(plane[..., np.newaxis], 3, axis=2) for plane in (source, other)]
    assert ssimulacra2.scores(source, [other]) == ssimulacra2.scores(as_rgb[0], [as_rgb[1]])


def test_what_cannot_be_measured_is_refused():
    page = drawn(40, 40)
    with pytest.raises(ValueError, match=r"40, 39.*40, 40"):
        ssimulacra2.scores(page, [page, page[:, :39]])
    with pytest.raises(ValueError, match="too small"):
        ssimulacra2.scores(page[:7], [page[:7]])
