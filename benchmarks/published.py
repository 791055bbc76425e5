"""Publish a benchmark: its results as JSON, a page of tables, and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]


def publish(
    folder: Path,
    name: str,
    figures: Figures,
    as_markdown: Callable[[Figures, str | None], str],
    write_plot: Callable[[Path, Figures], str | None],
) -> Path:
    """Write `name.json`, `name.md` and the plot into a folder, created if absent, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    page = folder / f"{name}.md"
    page.write_text(as_markdown(figures, write_plot(folder, figures)), encoding="utf-8")
    return page
