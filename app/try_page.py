"""Try a scan: one document, live settings, and what its page comes to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from io import BytesIO

import streamlit as st

from app import viewer
from app.bench import Bench, Tried
from app.controls import Chosen, as_profile, choose_settings
from app.figures import Figure, draw_figures
from app.pictures import Picture, picture_of
from app.uniform import Uniform, equal_uniform
from app.words import byte_size, percent, plain, words_for
from configs.settings import Settings
from tasks import ocr
from tasks.errors import ConfigError, PageError
from tasks.reading import WordCheck
from tasks.samples import sample_document, sample_keys
from tasks.scan import DOCUMENT_SUFFIXES

_TYPES = sorted(suffix.removeprefix(".") for suffix in DOCUMENT_SUFFIXES)
_MANY_NAMES = ("jpeg", "tiff", "jpe", "tif", "pdf")
_UNIFORM = "Uniform, as sharp"
_STEPS = {
    "seconds_read": "read",
    "seconds_ocr": "find text",
    "seconds_score": "judge importance",
    "seconds_encode": "plan, rescale, encode",
    "seconds_check": "check",
    "seconds_reread": "read again",
}


def draw() -> None:
    """Draw the page."""
    with st.sidebar:
        bench = _document()
        try:
            chosen = choose_settings()
        except ConfigError as error:
            st.error(f"These settings do not go together: {error}")
            return
    if bench is None:
        _welcome()
        return
    source = bench.open(chosen.settings)
    if source.problem or source.header is None:
        _say_what_is_wrong(bench, source.problem)
        return
    n_pages = len(source.header.pages)
    number = _picked_page(bench, n_pages) if n_pages > 1 else 0
    tried = _tried(bench, number, chosen.settings)
    if tried.prepared.page is None:
        _say_what_is_wrong(bench, tried.problem)
        return
    _draw_result(bench, tried, chosen)


def _document() -> Bench | None:
    """Draw what a document is chosen by, and return its bench, which the session keeps while it stays chosen."""
    uploaded = st.file_uploader(
        "Your scan",
        type=_TYPES,
        help="It is held in memory while this page is open, seen by nobody else, and never written to disk.",
    )
    sample = None
    if uploaded is None:
        sample = st.selectbox("or a sample", sample_keys(), index=None, placeholder="Choose a made-up scan")
    if uploaded is not None:
        name, data = uploaded.name, uploaded.getvalue()
    elif sample is not None:
        name, data = sample.rpartition("/")[2], _sample(sample)
    else:
        st.session_state.pop("bench", None)
        return None
    held = st.session_state.get("bench")
    digest = hashlib.sha256(data).hexdigest()
    if held is None or (held[0].name, held[1]) != (name, digest):
        held = Bench(name, data), digest
        st.session_state["bench"] = held
        for key in ("shown", "extras", "text check"):  # they are of the document that was here before
            st.session_state.pop(key, None)
    bench: Bench = held[0]
    return bench


@st.cache_data(max_entries=8, show_spinner=False)
def _sample(key: str) -> bytes:
    return sample_document(key)


def _welcome() -> None:
    st.title("Try a scan")
    st.markdown(
        "Drop a scan on the left, or choose a sample. You see it beside what Foliopress makes of it, what the network "
        "thinks matters on it, how far the rest was reduced, and every word that no longer reads the same.\n\n"
        f"It takes {', '.join(one.upper() for one in _TYPES if one not in _MANY_NAMES)} and TIFF, also of many pages, "
        "and PDF. Nothing leaves this machine."
    )


def _say_what_is_wrong(bench: Bench, problem: PageError | None) -> None:
    st.subheader(plain(bench.name))
    st.error(words_for(problem), icon=":material/error:")
    st.caption("In a run it would be kept as it is, with this reason in its row; nothing is lost.")


def _picked_page(bench: Bench, n_pages: int) -> int:
    picked = st.sidebar.number_input(f"Page (of {n_pages})", 1, n_pages, 1, key=f"page of {bench.name}")
    return int(picked) - 1


def _tried(bench: Bench, number: int, settings: Settings) -> Tried:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, "Starting")
        steps = iter((0.1, 0.45, 0.6))
        tried = bench.try_page(number, settings, lambda text: bar.progress(next(steps, 0.9), text))
    place.empty()
    return tried


def _draw_result(bench: Bench, tried: Tried, chosen: Chosen) -> None:
    extras = st.session_state.setdefault("extras", {})
    found: tuple[Uniform | None, tuple[WordCheck, ...] | str] | None = extras.get(tried.key)
    checks = found[1] if found and not isinstance(found[1], str) else ()
    st.markdown(f"**{plain(bench.name)}**")
    if tried.problem:
        st.warning(words_for(tried.problem), icon=":material/warning:")
    _draw_figures(tried, found[0] if found else None, is_known=found is not None)
    before, after = _pictures(bench, tried, are_previews=found is None)
    focus = _focus(checks)
    page = tried.prepared
    viewer.show(
        f"{bench.name} {page.page_index}",
        before,
        after,
        viewer.Overlays(
            tried.found.importance if tried.found else None,
            tried.levels,
            page.grid.tile_px if page.grid else 1,
            _marks(page.words, checks),
        ),
        labels=("Source", "Output" if tried.problem is None else "What was tried"),
        focus=focus,
    )
    _draw_downloads(tried, chosen)
    _draw_text_check(found[1] if found else None)
    _draw_seconds(tried)
    if found is None:  # what takes seconds more comes when the rest is there to be looked at
        with st.spinner("Reading the output once more, and looking for a uniform quality that is as sharp"):
            extras.clear()
            extras[tried.key] = equal_uniform(tried), _checked(bench, tried)
        st.rerun()


def _checked(bench: Bench, tried: Tried) -> tuple[WordCheck, ...] | str:
    try:
        return bench.check_text(tried)
    except PageError as error:
        return str(error)


def _draw_figures(tried: Tried, uniform: Uniform | None, *, is_known: bool) -> None:
    row = tried.row
    source_bytes, data = int(str(row["source_bytes"])), tried.finished.data
    ssim, kept = row["text_ssim"], row["words_kept_fraction"]
    draw_figures(
        Figure("Source", byte_size(source_bytes)),
        Figure("Output", byte_size(len(data)), f"{percent(1 - len(data) / source_bytes)} saved")
        if data is not None
        else Figure("Output", "none"),
        _uniform_figure(uniform, len(data or b" ")) if uniform else Figure(_UNIFORM, "none" if is_known else "…"),
        Figure(
            "Text SSIM",
            "no text" if ssim is None else f"{float(str(ssim)):.3f}",
            help="How like the source the strokes of its words are, at full resolution; 1 is the same.",
        ),
        Figure(
            "Words kept",
            "none sure" if kept is None else percent(float(str(kept))),
            help="Of the words that OCR was sure of, those that read the same or stand where hardly anything changed.",
        ),
    )
    facts = [
        str(row["page_kind"]),
        f"{row['width_px']} × {row['height_px']} pixels",
        f"{float(str(row['dpi'] or 0)):.0f} dpi",
    ]
    if row["codec"]:
        facts.append(str(row["codec"]).upper() + (f" at quality {row['quality']}" if row["quality"] else ""))
    if row["attempts"]:
        facts.append(f"{row['attempts']} tries" if row["attempts"] != 1 else "1 try")
    if tried.prepared.grid:
        facts.append(f"{tried.prepared.grid.n_tiles} tiles of {tried.prepared.grid.tile_px} pixels")
    st.caption(" · ".join(facts))


def _uniform_figure(uniform: Uniform, size_bytes: int) -> Figure:
    more = uniform.size_bytes / size_bytes - 1
    note = f"{percent(more)} more" if more >= 0 else f"{percent(-more)} less"
    explained = f"The whole page in one quality of the same format ({uniform.quality}), its strokes as sharp."
    return Figure(_UNIFORM, byte_size(uniform.size_bytes), note, explained)


def _pictures(bench: Bench, tried: Tried, *, are_previews: bool) -> tuple[Picture, Picture | None]:
    """Return both sides as pictures; the source's is made once a page, and that of the output once a try."""
    page = tried.prepared.page
    assert page is not None
    source = bench.name, tried.source.sha256, tried.prepared.page_index, page.icc
    wanted = {(source, are_previews): lambda: page, (tried.key, are_previews): tried.output}
    shown: dict[Hashable, Picture | None] = st.session_state.setdefault("shown", {})
    for key in [key for key in shown if key not in wanted and key != (source, False)]:
        del shown[key]
    for key, decoded in wanted.items():
        if key not in shown:
            output = decoded()
            shown[key] = picture_of(output, is_preview=are_previews) if output else None
    before = shown.get((source, False)) or shown[source, are_previews]
    assert before is not None
    return before, shown[tried.key, are_previews]


def _marks(words: Sequence[ocr.Word], checks: Sequence[WordCheck]) -> list[viewer.Mark]:
    said = {check.word: check.verdict for check in checks}
    return [
        viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, said.get(word, "unsure")) for word in words
    ]


def _focus(checks: Sequence[WordCheck]) -> viewer.Mark | None:
    """Return the word that was picked in the list of the text check, if one was."""
    picked = st.session_state.get("text check")
    rows = picked["selection"]["rows"] if picked else []
    bad = [check for check in checks if check.verdict != "kept"]
    if not rows or rows[0] >= len(bad):
        return None
    word = bad[rows[0]].word
    return viewer.Mark(word.row_px, word.col_px, word.height_px, word.width_px, bad[rows[0]].verdict)


def _draw_downloads(tried: Tried, chosen: Chosen) -> None:
    """Draw the downloads beside one another, so that output and settings are always those of one try."""
    columns = st.columns(3)
    data = tried.output_file() if tried.problem is None else None
    if data is not None:
        columns[0].download_button(
            "Download the output", BytesIO(data), tried.output_name, "application/octet-stream", on_click="ignore"
        )
    columns[1].download_button(
        "Download its row",
        json.dumps(tried.row, indent=1, ensure_ascii=False),
        f"{tried.source.document.key}.json",
        "application/json",
        help="The figures as a run writes them to its statistics.",
        on_click="ignore",
    )
    columns[2].download_button(
        "Download these settings",
        as_profile(chosen),
        "my-profile.yaml",
        "application/yaml",
        help="A profile for bulk runs: foliopress compress SOURCE DEST --profile my-profile.yaml",
        on_click="ignore",
    )


def _draw_text_check(checks: tuple[WordCheck, ...] | str | None) -> None:
    st.markdown("#### Text check")
    if checks is None:
        st.caption("The output is read once more …")
    elif isinstance(checks, str):
        st.warning(checks)
    elif not checks:
        st.caption("OCR was sure of no word on this page; its strokes are held against the source all the same.")
    else:
        bad = [check for check in checks if check.verdict != "kept"]
        st.caption(
            f"Of {len(checks)} words that OCR was sure of, {len(checks) - len(bad)} read the same on the output. The "
            "check that decides also reads the others line by line, so that OCR's own wavering is not held against the "
            "page. Pick a word to see it."
        )
        if bad:
            table = [
                {
                    "source": check.word.text,
                    "output": check.found,
                    "": "reads otherwise" if check.verdict == "changed" else "not read",
                    "confidence": round(check.word.confidence),
                }
                for check in bad
            ]
            st.dataframe(
                table,
                key="text check",
                on_select="rerun",
                selection_mode="single-row",
                hide_index=True,
                height="content",
            )


def _draw_seconds(tried: Tried) -> None:
    parts = [(name, tried.row.get(key)) for key, name in _STEPS.items()]
    told = [f"{name} {float(str(seconds)):.2f} s" for name, seconds in parts if seconds is not None]
    st.caption("Time: " + " · ".join(told))
