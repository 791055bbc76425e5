"""List the marks that a PDF page's content paints, in order, each with its graphics state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import pikepdf

from foliopress.tasks.errors import PageError
from foliopress.tasks.pdf.bounded_reading import decoded_stream, limit_decoded_size
from foliopress.tasks.pdf.optional_content import Layers
from foliopress.tasks.work_budget import WorkBudget

Kind = Literal["image", "text", "hidden", "drawing"]
Box = tuple[float, float, float, float]
"""(left, bottom, right, top), in points."""

MOST_NESTED = 8
"""Nesting depth of forms; a deeper page is malicious."""
MOST_MARKS, MOST_FORMS = 200_000, 10_000
"""Marks painted and forms executed on one page. A newspaper page with a text layer has 5,500 marks; a form that shows
30 others, 8 deep, would have 10^11."""
MOST_CONTENT_BYTES, MOST_INSTRUCTIONS = 2**23, 1_000_000
"""Decoded size and instruction count of the content of one page and its forms: 250 MB of memory. The newspaper page
above has 300 kB and 30,000.
"""

EVERYWHERE: Box = (-1e9, -1e9, 1e9, 1e9)
_INVISIBLE, _FIRST_CLIPPING = 3, 4  # text rendering modes (ISO 32000-1, table 106)
_SAME_PT = 0.01  # tolerance between corners of a rectangle

_PAINTS = frozenset(("f", "F", "f*", "S", "s", "B", "B*", "b", "b*", "sh"))
_SHOWS = frozenset(("Tj", "TJ", "'", '"'))
_WANTED = ("q", "Q", "cm", "Tr", "Do", "INLINE IMAGE", "BI", "EI", "BDC", "BMC", "EMC", *_PAINTS, *_SHOWS)
_OF_STATE = ("gs", "re", "m", "l", "c", "v", "y", "h", "W", "W*", "n")
_CURVES = frozenset(("c", "v", "y"))
_SHORTEST_BYTES = 2  # per instruction: one letter and a separator


@dataclass(frozen=True)
class Mark:
    """One mark on a page.

    kind: `hidden` is text that is neither filled nor stroked. matrix: From the mark's space to the page's. xobject: The
    image. is_shown: Whether its layer is shown; None if unknown. is_altered: Whether transparency, a blend mode, a soft
    mask or a transfer function applies. clip: The clip rectangle; None if the clip is not a rectangle.
    """

    kind: Kind
    matrix: pikepdf.Matrix
    xobject: Any = None
    is_shown: bool | None = True
    is_altered: bool = False
    clip: Box | None = EVERYWHERE


@dataclass(frozen=True)
class _State:
    matrix: pikepdf.Matrix
    mode: int = 0
    altered: frozenset[str] = frozenset()
    clip: Box | None = EVERYWHERE


@dataclass(frozen=True)
class PageContent:
    """Content of a page to interpret.

    page, resources: Its objects. start: Matrix from its units to points. layers: Layers of its document.
    """

    page: Any
    resources: Any
    start: pikepdf.Matrix
    layers: Layers


def marks(
    content: PageContent, is_image: Callable[[Any], bool], budget: WorkBudget, *, with_state: bool = False
) -> Iterator[Mark]:
    """Yield the marks that a page paints, in order.

    Args:
        content: The page's content.
        is_image: Returns whether a form represents one image and must not be interpreted.
        budget: Work budget.
        with_state: Also track clips and graphics states; otherwise every mark is unclipped and unaltered.

    Raises:
        PageError: If the content exceeds the limits (`too_complex`).
        ValueError: If forms are nested too deeply.
    """
    interpreter = _Content(content.layers, is_image, budget, with_state)
    return interpreter.painted(content.page, content.resources, _State(content.start), True, 0)


class _Content:
    """Interpreter for the content of one page; each form is parsed once, however often it is painted."""

    def __init__(self, layers: Layers, is_image: Callable[[Any], bool], budget: WorkBudget, with_state: bool) -> None:
        self._layers, self._is_image, self._budget, self._with_state = layers, is_image, budget, with_state
        self._operators = " ".join((*_WANTED, *(_OF_STATE if with_state else ())))
        self._parsed: dict[tuple[int, int], Sequence[Any]] = {}
        self._n_marks = self._n_forms = self._n_bytes = self._n_instructions = 0

    def painted(self, content: Any, resources: Any, start: _State, is_shown: bool | None, depth: int) -> Iterator[Mark]:
        if depth > MOST_NESTED:
            raise ValueError("forms are nested too deeply")
        state, held, path = start, [], _Path()  # type: _State, list[_State], _Path
        layers: list[bool | None] = []
        for instruction in self._instructions(content):
            operands, name = instruction.operands, str(instruction.operator)
            self._budget.spend()
            if name == "q":
                held.append(state)
            elif name == "Q":
                state = held.pop() if held else state
            elif name == "cm":
                state = replace(state, matrix=_matrix(operands) @ state.matrix)
            elif name == "Tr":
                state = replace(state, mode=int(operands[0]))
            elif name == "gs":
                state = replace(state, altered=_altered(state.altered, _resource(resources, "/ExtGState", operands[0])))
            elif name in ("BDC", "BMC"):
                layers.append(self._is_marked_shown(operands, resources))
            elif name == "EMC":
                del layers[-1:]
            elif name in _SHOWS:
                yield self._mark("hidden" if state.mode == _INVISIBLE else "text", state, _both(is_shown, *layers))
                if state.mode >= _FIRST_CLIPPING:
                    state = replace(state, clip=None)
            elif name in _PAINTS or name in ("INLINE IMAGE", "n"):
                if name != "n":
                    yield self._mark("drawing", state, _both(is_shown, *layers))
                if name not in ("INLINE IMAGE", "sh"):
                    state, path = replace(state, clip=path.clipped(state.clip)), _Path()
            elif name == "Do":
                found = _resource(resources, "/XObject", operands[0])
                if found is not None:  # viewers ignore missing resources
                    shown = _both(is_shown, *layers, self._layers.is_shown(found.get("/OC")))
                    yield from self._shown(found, resources, state, shown, depth)
            else:
                path.add(name, operands, state.matrix)

    def _shown(self, found: Any, resources: Any, state: _State, is_shown: bool | None, depth: int) -> Iterator[Mark]:
        kind = str(found.get("/Subtype", ""))
        if kind == "/Image" or (kind == "/Form" and self._is_image(found)):
            yield self._mark("image", state, is_shown, found)
        elif kind == "/Form":
            self._n_forms += 1
            self._check()
            inner = replace(state, matrix=_matrix(found.get("/Matrix", (1, 0, 0, 1, 0, 0))) @ state.matrix)
            if self._with_state and "/BBox" in found:
                inner = replace(inner, clip=_box_of(found.BBox, inner.matrix, state.clip))
            yield from self.painted(found, found.get("/Resources", resources), inner, is_shown, depth + 1)

    def _instructions(self, content: Any) -> Sequence[Any]:
        found = self._parsed.get(content.objgen)
        if found is None or content.objgen == (0, 0):
            self._check_length(content)
            with limit_decoded_size(MOST_CONTENT_BYTES):
                found = pikepdf.parse_content_stream(content, operators=self._operators)
            self._n_instructions += len(found)
            self._parsed[content.objgen] = found
        return found

    def _check_length(self, content: Any) -> None:
        """Raise PageError (`too_complex`) if the content to parse does not fit into memory."""
        held = content if isinstance(content, pikepdf.Stream) else content.get("/Contents", ())
        found = []
        for stream in [held] if isinstance(held, pikepdf.Stream) else held:
            self._budget.spend()
            if isinstance(stream, pikepdf.Stream):
                with suppress(pikepdf.DataDecodingError):  # the parser reports it
                    found.append(decoded_stream(stream, self._budget, MOST_CONTENT_BYTES))
                    self._n_bytes += len(found[-1])
            if self._n_bytes > MOST_CONTENT_BYTES:
                break
        n_more = sum(map(len, found)) // _SHORTEST_BYTES
        if self._n_instructions + n_more > MOST_INSTRUCTIONS:
            n_more = sum(len(_instruction(self._operators).findall(data)) for data in found)
        if self._n_bytes > MOST_CONTENT_BYTES or self._n_instructions + n_more > MOST_INSTRUCTIONS:
            message = f"its content has more than {MOST_CONTENT_BYTES} bytes or {MOST_INSTRUCTIONS} instructions"
            raise PageError("too_complex", f"{message}; the page stays as it is")

    def _mark(self, kind: Kind, state: _State, is_shown: bool | None, xobject: Any = None) -> Mark:
        self._n_marks += 1
        self._check()
        return Mark(kind, state.matrix, xobject, is_shown, bool(state.altered), state.clip)

    def _check(self) -> None:
        if self._n_marks > MOST_MARKS or self._n_forms > MOST_FORMS:
            message = f"the page paints more than {MOST_MARKS} marks or {MOST_FORMS} forms; it stays as it is"
            raise PageError("too_complex", message)

    def _is_marked_shown(self, operands: Sequence[Any], resources: Any) -> bool | None:
        if len(operands) < 2 or str(operands[0]) != "/OC":
            return True
        held = operands[1]
        if isinstance(held, pikepdf.Name):
            held = _resource(resources, "/Properties", held)
        return self._layers.is_shown(held)


class _Path:
    """A path under construction, as far as it may become a clip rectangle."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._n_parts, self._is_clip, self._is_curved = 0, False, False

    def add(self, name: str, operands: Sequence[Any], matrix: pikepdf.Matrix) -> None:
        """Apply one path construction or clipping operator."""
        if name in ("W", "W*"):
            self._is_clip = True
        elif name in _CURVES:
            self._is_curved = True
        elif name == "re":
            x, y, width, height = (float(value) for value in operands)
            self._n_parts += 1
            corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
            self._points += [matrix.transform(corner) for corner in corners]
        elif name in ("m", "l"):
            self._n_parts += name == "m"
            self._points.append(matrix.transform((float(operands[0]), float(operands[1]))))

    def clipped(self, clip: Box | None) -> Box | None:
        """Return the clip after the path is painted or ended."""
        if not self._is_clip or clip is None:
            return clip
        return None if self._is_curved or self._n_parts != 1 else _within(_rectangle(self._points), clip)


@lru_cache(maxsize=2)
def _instruction(operators: str) -> re.Pattern[bytes]:
    """Return a pattern that matches every instruction in content, and possibly some text that looks like one."""
    names = "|".join(re.escape(name) for name in sorted(operators.split(), key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9*/.])(?:{names})(?![A-Za-z0-9*])".encode())


def _resource(resources: Any, kind: str, name: Any) -> Any:
    held = None if resources is None else resources.get(kind)
    return None if held is None else held.get(str(name))


def _matrix(values: Any) -> pikepdf.Matrix:
    return pikepdf.Matrix(*(float(value) for value in values))


def _both(*states: bool | None) -> bool | None:
    """Return whether a mark in several layers is shown: False if any layer is hidden, else None if any is unknown."""
    if any(state is False for state in states):
        return False
    return None if None in states else True


def _altered(before: frozenset[str], changes: Any) -> frozenset[str]:
    """Return the graphics state parameters that change a mark's own colours."""
    if changes is None:
        return before
    plain: dict[str, bool] = {}
    if "/ca" in changes:
        plain["/ca"] = float(changes["/ca"]) >= 1
    if "/BM" in changes:
        modes = changes["/BM"]
        first = modes if isinstance(modes, pikepdf.Name) else next(iter(modes), "/Normal")
        plain["/BM"] = str(first) in ("/Normal", "/Compatible")
    if "/SMask" in changes:
        plain["/SMask"] = str(changes["/SMask"]) == "/None"
    for key in ("/TR", "/TR2"):
        if key in changes:
            plain["/TR"] = isinstance(changes[key], pikepdf.Name) and str(changes[key]) in ("/Identity", "/Default")
    return before - plain.keys() | {key for key, is_plain in plain.items() if not is_plain}


def _box_of(box: Any, matrix: pikepdf.Matrix, clip: Box | None) -> Box | None:
    x0, y0, x1, y1 = (float(side) for side in box)
    if clip is None:
        return None
    return _within(_rectangle([matrix.transform(corner) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]), clip)


def _rectangle(points: Sequence[tuple[float, float]]) -> Box | None:
    """Return the axis-parallel box with these corners, or None.

    >>> _rectangle([(0, 0), (4, 0), (4, 3), (0, 3)]), _rectangle([(0, 0), (4, 1), (4, 3), (0, 3)])
    ((0, 0, 4, 3), None)
    """
    if len(points) < 4:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, bottom, right, top = min(xs), min(ys), max(xs), max(ys)
    corners = {
        (abs(x - left) <= _SAME_PT, abs(y - bottom) <= _SAME_PT)
        for x, y in points
        if min(x - left, right - x) <= _SAME_PT and min(y - bottom, top - y) <= _SAME_PT
    }
    is_one = len(points) <= 5 and len(corners) == 4
    is_one = is_one and all(min(x - left, right - x) <= _SAME_PT >= min(y - bottom, top - y) for x, y in points)
    return (left, bottom, right, top) if is_one else None


def _within(box: Box | None, clip: Box) -> Box | None:
    if box is None:
        return None
    return max(box[0], clip[0]), max(box[1], clip[1]), min(box[2], clip[2]), min(box[3], clip[3])
