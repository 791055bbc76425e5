"""Output keys: no two documents share one, whatever their keys."""

import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from foliopress.tasks.naming.key_spelling import ORDINARY, WINDOWS_LETTERS, Naming
from foliopress.tasks.naming.output_keys import duplicate_key, output_key, page_in_output, text_key
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
    with pytest.raises(ValueError, match="extension"):
        output_key("a.tif", extension=extension)


WINDOWS = Naming(folds_case=True, not_held=WINDOWS_LETTERS, is_windows=True)
MAC = Naming(folds_case=True, forms="equal", not_held=":")
OLD_MAC = Naming(folds_case=True, forms="changed", not_held=":")
NARROW = Naming(letters="ascii", longest_name_bytes=100, longest_key_bytes=200)
namings = st.builds(
    Naming,
    folds_case=st.booleans(),
    forms=st.sampled_from(["kept", "equal", "changed"]),
    letters=st.sampled_from(["all", "basic", "ascii"]),
    not_held=st.sampled_from(["", ":", "+&", WINDOWS_LETTERS]),
    is_windows=st.booleans(),
    longest_name_bytes=st.sampled_from([100, 200]),
    longest_key_bytes=st.sampled_from([200, 900]),
)

TWINS = [
    *(
        "Page.jpg",
        "page.jpg",
        "PAGE.JPG",
        "a.jpg.AVIF",
        "a.jpg.avif",
        "A.jpg",
        "B.TIF",
        "b.tif",
        "0001.AVIF",
        "Con.jpg",
    ),
    *("\u00c4.jpg", "\u00e4.jpg", "a\u0308.jpg", "A\u0308.jpg", "\u212a.jpg", "k.jpg", "K.jpg", "\u00df.jpg", "ss.jpg"),
    *("SS.jpg", "\u1e9e.jpg", "\u017f.jpg", "s.jpg", "\u0131.jpg", "i.jpg", "\u0130.jpg", "i\u0307.jpg", "\u03c3.jpg"),
    *("\u03c2.jpg", "\u03a3.jpg", "\ufb01.jpg", "fi.jpg", "\uff41.jpg", "a.jpg", "a\u200d.jpg", "\uac00.jpg"),
    *("\u1100\u1161.jpg", "\u1e9b\u0323.jpg", "\u00b5.jpg", "\u03bc.jpg", "\u01c4.jpg", "\u01c5.jpg", "\u01c6.jpg"),
    *(
        "\u13a0.jpg",
        "\uab70.jpg",
        "\U00010400.jpg",
        "\U00010428.jpg",
        "\u1c88.jpg",
        "\ua64b.jpg",
        "end",
        "end.",
        "end ",
    ),
    *(
        "%-1",
        "page%-1.jpg",
        "con.jpg",
        "con%-0.jpg",
        "%3a.jpg",
        "%3A.jpg",
        ":.jpg",
        "%253A.jpg",
        "x.%2e",
        "x..",
        "N" * 230,
    ),
    *("n" * 230, "N" * 200 + ".tif", "n" * 200 + ".tif", "longna~1.jpg"),
]
twin_names = st.one_of(
    st.sampled_from(TWINS), names, st.text("aAsS\u00df\u017fk\u212a%-1.\u0308\u00e4\u00c4", max_size=6)
)
twin_keys = st.lists(twin_names, min_size=1, max_size=4).map("/".join)


def simple_upper(name):
    """Return a name as Windows compares it: letter by letter, those whose capital is one letter."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in name)


def as_linux_folds(name):
    """Return a name as ext4 compares it in a casefold folder: without ignorable characters, fully case-folded."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", seen).casefold())


CASES = [str.casefold, str.lower, str.upper, simple_upper, lambda name: simple_upper(name).lower()]
FORMS = [lambda name, form=form: unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")]


def folds_of(naming):
    """Return all ways in which a store with these rules may compare names."""
    cases = CASES if naming.folds_case else []
    forms = FORMS if naming.forms != "kept" else []
    both = [lambda name, one=one, other=other: one(other(one(name))) for one in cases for other in forms]
    return [str, *cases, *forms, *both, *([as_linux_folds] if both else [])]


@given(one=twin_keys, one_form=forms, other=twin_keys, other_form=forms, naming=namings)
@example("Page.jpg", {"extension": "avif"}, "page.jpg", {"extension": "avif"}, WINDOWS)
@example("a.jpg", {"extension": "avif"}, "A.JPG.AVIF", {}, WINDOWS)
@example("\u00e9.jpg", {}, "e\u0301.jpg", {}, MAC)
@example("B.tif", {"page_index": 0, "extension": "avif"}, "b.tif/0001.avif", {}, OLD_MAC)
@example("end./a.jpg", {}, "end/a.jpg", {}, WINDOWS)
@settings(max_examples=1500, deadline=None)
def test_no_two_outputs_are_one_to_a_store_that_tells_fewer_names_apart(one, one_form, other, other_form, naming):
    assume(one != other)
    ours, theirs = output_key(one, **one_form, naming=naming), output_key(other, **other_form, naming=naming)
    for fold in folds_of(naming):
        assert fold(ours) != fold(theirs)
        assert not fold(theirs).startswith(fold(ours) + "/")


@given(keys=st.lists(twin_keys, unique=True, max_size=30), naming=namings)
@settings(max_examples=150, deadline=None)
def test_as_many_outputs_and_texts_lie_in_any_store_as_there_are_documents(keys, naming):
    outputs = [output_key(key, naming=naming) for key in keys]
    texts = [text_key(key, "alto.xml", naming=naming) for key in keys]
    for fold in folds_of(naming):
        assert len(set(map(fold, outputs))) == len(set(map(fold, texts))) == len(keys)


DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(kind + number for kind in ("COM", "LPT") for number in "123456789\u00b9\u00b2\u00b3"),
}


@given(key=twin_keys, form=forms, naming=namings)
@example("CON.jpg", {}, WINDOWS)
@example("con .x/aux/nul.tif", {"page_index": 0, "extension": "avif"}, WINDOWS)
@example("..../.. /. ./a.jpg", {}, WINDOWS)
@settings(max_examples=600, deadline=None)
def test_a_name_has_nothing_that_its_store_does_not_hold(key, form, naming):
    place = output_key(key, **form, naming=naming)
    assert not set(naming.not_held) - {"~"} & set(place)
    assert naming.letters == "all" or all(ord(letter) <= 0xFFFF for letter in place)
    assert naming.letters != "ascii" or place.isascii()
    assert naming.forms != "changed" or place == unicodedata.normalize("NFD", place)
    assert naming.forms == "kept" or place == unicodedata.normalize("NFC", place)
    assert not naming.folds_case or place == place.lower()
    assert len(place.encode()) <= naming.longest_key_bytes + 25
    for part in place.split("/"):
        assert len(part.encode()) <= naming.longest_name_bytes + 12 and part not in ("", ".", "..")
        if naming.is_windows:
            assert part[-1] not in ". " and part.partition(".")[0].rstrip().upper() not in DEVICES


@given(key=twin_keys, form=forms)
@settings(max_examples=200, deadline=None)
def test_on_an_ordinary_store_names_are_what_they_were_before_there_were_rules(key, form):
    assert output_key(key, **form, naming=ORDINARY) == output_key(key, **form)


@pytest.mark.parametrize(
    ("naming", "key", "form", "place"),
    [
        (WINDOWS, "Page.jpg", {"extension": "avif"}, "pages/page%-1.jpg.avif"),
        (WINDOWS, "IMG_0001.JPG", {}, "pages/img_0001%-e07.jpg"),
        (WINDOWS, "scan 10:30.jpg", {}, "pages/scan 10%3a30.jpg"),
        (WINDOWS, "end./end /a.jpg", {}, "pages/end%2e/end%20/a.jpg"),
        (WINDOWS, "con.jpg", {}, "pages/con%-0.jpg"),
        (
            WINDOWS,
            "b\u00fccher/\u00dcber.tif",
            {"page_index": 0, "extension": "avif"},
            "pages/b\u00fccher/\u00fcber%-1.tif/0001.avif",
        ),
        (MAC, "stra\u00dfe/\u00fcber.jpg", {}, "pages/stra%c3%9fe/\u00fcber.jpg"),
        (MAC, "u\u0308ber.jpg", {}, "pages/u%cc%88ber.jpg"),
        (OLD_MAC, "\u00fcber.jpg", {}, "pages/%c3%bcber.jpg"),
        (Naming(forms="equal"), "Page \u4e2d\u6587 \uac00.jpg", {}, "pages/Page \u4e2d\u6587 \uac00.jpg"),
        (NARROW, "\u00c4.jpg", {}, "pages/%C3%84.jpg"),
    ],
)
def test_what_a_store_does_not_tell_apart_is_spelt_so_that_people_can_read_it(naming, key, form, place):
    assert output_key(key, **form, naming=naming) == place


@given(key=twin_keys, first=twin_keys, form=forms, naming=namings)
@settings(max_examples=300, deadline=None)
def test_a_twin_gets_the_name_that_it_would_have_by_itself(key, first, form, naming):
    assert duplicate_key(key, first, output_key(first, **form, naming=naming), naming) == output_key(
        key, **form, naming=naming
    )


@given(key=twin_keys, page=st.integers(0, 11_000), naming=namings)
@example("0004.tif", 3, ORDINARY)
@example("0004.tif/0004.tif", 3, ORDINARY)
@settings(max_examples=400, deadline=None)
def test_whether_an_output_holds_one_page_or_all_is_told_without_the_rules_of_its_store(key, page, naming):
    assert page_in_output(key, page, output_key(key, naming=naming)) == page
    for extension in ("tif", "avif"):
        of_page = output_key(key, page_index=page, extension=extension, naming=naming)
        assert page_in_output(key, page, of_page) == 0
