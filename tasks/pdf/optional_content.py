"""Determine which layers (optional content) are shown when a reader opens a PDF (ISO 32000-1, 8.11)."""

from __future__ import annotations

from typing import Any

import pikepdf

from foliopress.tasks.work_budget import WorkBudget

_VIEW = ("/View", "/All")  # intents that affect viewing; others do not

_COST = 10  # of one layer lookup, in operations: as long as ten marks take


class Layers:
    """The layers of a document in their default state.

    Args:
        root: The document's catalogue.
        budget: Work budget for the lookups.
    """

    def __init__(self, root: Any, budget: WorkBudget) -> None:
        self._budget = budget
        properties = root.get("/OCProperties")
        default: Any = pikepdf.Dictionary() if properties is None else properties.get("/D", pikepdf.Dictionary())
        self._is_shown_first = str(default.get("/BaseState", "/ON")) != "/OFF"  # Unchanged: shown on opening
        self._on, self._off = self._ids(default.get("/ON")), self._ids(default.get("/OFF"))
        self._by_view_state: set[tuple[int, int]] = set()
        self._by_other_use: set[tuple[int, int]] = set()
        for rule in default.get("/AS", ()):
            budget.spend()
            if str(rule.get("/Event", "")) == "/View":
                is_view = {str(name) for name in rule.get("/Category", ())} == {"/View"}
                (self._by_view_state if is_view else self._by_other_use).update(self._ids(rule.get("/OCGs")))

    def is_shown(self, content: Any) -> bool | None:
        """Return whether content of a group or membership dictionary is shown, or None if unknown.

        Unknown are an expression (`/VE`), a group whose state depends on zoom, language or user (`/AS`), and a group
        whose `/ViewState` contradicts its default state: the standard uses the former, pdfium the latter.
        """
        self._budget.spend(_COST)
        if not isinstance(content, pikepdf.Dictionary):
            return True
        if str(content.get("/Type", "/OCG")) == "/OCMD":
            return self._by_membership(content)
        if content.objgen in self._by_other_use or content.objgen == (0, 0):
            return None
        intents = content.get("/Intent", pikepdf.Name.View)
        names = [intents] if isinstance(intents, pikepdf.Name) else list(intents)
        if names and not any(str(name) in _VIEW for name in names):
            return True
        is_shown = content.objgen in self._on or self._is_shown_first
        if content.objgen in self._off:  # a group in both lists is hidden, as in pdfium
            is_shown = False
        view_state = content.get("/Usage", pikepdf.Dictionary()).get("/View", pikepdf.Dictionary()).get("/ViewState")
        if view_state is None or (str(view_state) != "/OFF") == is_shown:
            return is_shown
        return not is_shown if content.objgen in self._by_view_state else None

    def _by_membership(self, content: Any) -> bool | None:
        if "/VE" in content:
            return None
        groups = content.get("/OCGs")
        if groups is None:
            return True
        members = list(groups) if isinstance(groups, pikepdf.Array) else [groups]
        states = [self.is_shown(one) for one in members if isinstance(one, pikepdf.Dictionary)]
        if not states:
            return True
        if None in states:
            return None
        match str(content.get("/P", "/AnyOn")):
            case "/AnyOn":
                return any(states)
            case "/AllOn":
                return all(states)
            case "/AnyOff":
                return not all(states)
            case "/AllOff":
                return not any(states)
        return None

    def _ids(self, groups: Any) -> set[tuple[int, int]]:
        if groups is None:
            return set()
        self._budget.spend(len(groups))
        return {one.objgen for one in groups if isinstance(one, pikepdf.Dictionary)}
