"""Keys: every document has places of its own, whatever its key."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tasks.keys import output_key, text_key
from tests.promises import NO_COLLISION

pytestmark = pytest.mark.promise(
    NO_COLLISION,
    "any keys, by Hypothesis",
)

names = st.one_of(
    st.sampled_from(
        [
            *("a", "a.jpg", "a.png", "a.jpg.avif", "a.jpg.avif.avif", "a.jpg.jxl", "b.tif", "0001.avif", "A.jpg"),
            *("", ".", "..", "%", "%%", "%2F", "%2E", "%_", "%~", "a%", "a%%", "a.jpg%", "b.tif%", "x.JPG"),
            *("a\\b.jpg", "a\n.jpg", "é.jpg", "e\u0301.jpg", "\udcff.jpg", "\uf7ff.jpg", "%EF%9F%BF.jpg"),
        ]
    ),
    st.text(st.characters(blacklist_characters="/"), max_size=12),
    st.text("ab.%/jpgtif", max_size=12).map(lambda text: text.replace("/", "")),
    st.builds(
        lambda length, ending: "n" * length + ending,
        st.one_of(st.integers(190, 210), st.integers(190, 1100)),
        st.sampled_from([".tif", ".tif.avif", ""]),
    ),
)
keys = st.lists(names, min_size=1, max_size=5).map("/".join)
forms = st.one_of(
    st.just({}),
    st.sampled_from(["avif", "webp", "jpg", "tif", "jxl"]).map(lambda extension: {"extension": extension}),
    st.builds(
        lambda page, extension: {"page_index": page, "extension": extension},
        st.integers(0, 11_000),
        st.sampled_from(["avif", "tif"]),
    ),
)


@given(one=keys, one_form=forms, other=keys, other_form=forms)
@example("a.jpg", {"extension": "avif"}, "a.jpg.avif", {})
@example("b.tif", {"page_index": 0, "extension": "avif"}, "b.tif/0001.avif", {})
@example("a", {"extension": "jpg"}, "a.jpg", {})
@settings(max_examples=600, deadline=None)
def test_no_two_documents_share_an_output_key(one, one_form, other, other_form):
    assume(one != other)
    assert output_key(one, **one_form) != output_key(other, **other_form)


@given(one=keys, one_form=forms, other=keys, other_form=forms)
@example("b.tif", {}, "b.tif/x.jpg", {})
@example("a.jpg.avif", {}, "a.jpg.avif/x.png", {"extension": "avif"})
@example("a", {}, "a/x.png", {})
@example("n" * 300, {}, "n" * 300 + "/x.png", {})
@example("a.jpg", {"extension": "jxl"}, "a.jpg.jxl/x.png", {})
@settings(max_examples=600, deadline=None)
def test_no_output_is_a_folder_of_another_documents_output(one, one_form, other, other_form):
    assume(one != other)
    assert not output_key(other, **other_form).startswith(output_key(one, **one_form) + "/")


texts = st.tuples(st.sampled_from(["alto.xml", "hocr.html", "txt"]), st.none() | st.integers(0, 11_000))


@given(one=keys, one_text=texts, other=keys, other_text=texts)
@example("a.jpg", ("txt", None), "a.jpg.txt", ("txt", None))
@example("b.tif", ("txt", 0), "b.tif/0001.jpg", ("txt", None))
@settings(max_examples=600, deadline=None)
def test_no_two_pages_share_a_text_key_and_none_is_a_folder_of_anothers(one, one_text, other, other_text):
    assume((one, one_text) != (other, other_text))
    ours, theirs = (
        text_key(key, form, page_index=page) for key, (form, page) in ((one, one_text), (other, other_text))
    )
    assert ours != theirs
    assert not theirs.startswith(ours + "/")
    assert ours.startswith("text/") and not {"", ".", ".."} & set(ours.split("/"))
    assert len(ours.encode()) <= 1024 and all(len(part.encode()) <= 255 for part in ours.split("/"))


@given(key=keys, form=forms)
@settings(max_examples=400, deadline=None)
def test_no_key_escapes_from_the_pages_or_breaks_a_stores_limits(key, form):
    place = output_key(key, **form)
    parts = place.split("/")
    assert parts[0] == "pages"
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode()) <= 240 for part in parts)
    assert len(place.encode()) <= 1024
    assert all(ord(letter) >= 0x20 and letter != "\\" for letter in place)


@pytest.mark.parametrize(
    ("key", "form", "place"),
    [
        ("letters/a.jpg", {"extension": "avif"}, "pages/letters/a.jpg.avif"),
        ("letters/a.png", {"extension": "avif"}, "pages/letters/a.png.avif"),
        ("b.tif", {"page_index": 11, "extension": "tif"}, "pages/b.tif/0012.tif"),
        ("Akten 1887/Blatt 3 (verso).TIF", {}, "pages/Akten 1887/Blatt 3 (verso).TIF"),
        ("/a.jpg", {}, "pages/%_/a.jpg"),
        ("Foto.backup/1887.scan.jpeg", {"extension": "webp"}, "pages/Foto.backup/1887.scan.jpeg.webp"),
        ("Ärzte & Söhne/Brief #3 + 50 €.png", {"extension": "avif"}, "pages/Ärzte & Söhne/Brief #3 + 50 €.png.avif"),
    ],
)
def test_ordinary_keys_stay_as_they_are(key, form, place):
    assert output_key(key, **form) == place


def test_a_page_needs_an_extension():
    with pytest.raises(ValueError, match="extension"):
        output_key("a.tif", page_index=0)


@pytest.mark.parametrize("extension", ["", "a/b", "exe", "AVIF", ".avif"])
def test_an_ending_that_no_output_has_is_refused(extension):
    with pytest.raises(ValueError, match="ending"):
        output_key("a.tif", extension=extension)
