"""Test that the documentation matches the code: reasons, settings, exit codes, messages, files, classes and links."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from foliopress.configs.clusters import ClusterKind, option_names
from foliopress.configs.settings import Closed, ClusterSettings, LimitSettings, ScanSettings, StorageSettings
from foliopress.flows import cli
from foliopress.tasks.checks.audit import DamageKind
from foliopress.tasks.errors import RETRIED_REASONS
from foliopress.tasks.storage.locations import PROTOCOLS

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = ROOT / "docs" / "operations.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CODE = ("configs", "tasks", "model", "flows", "app", "deployments")
SECTIONS: dict[str, type[Closed]] = {
    "scan": ScanSettings,
    "limits": LimitSettings,
    "cluster": ClusterSettings,
    "storage": StorageSettings,
}
PASSED_ON = {
    "tasks/errors.py",
    "tasks/pdf/bounded_reading.py",
    "flows/steps/store_document.py",
    "flows/steps/checkpoints.py",
}
"""Files that raise a problem with a reason from elsewhere."""


@cache
def trees(*folders: str) -> Mapping[str, ast.Module]:
    """Return the parsed files of some packages by path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def calls(*folders: str) -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call in some packages, with its file and the name of the called function."""
    for path, tree in trees(*folders).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, getattr(node.func, "id", getattr(node.func, "attr", "")), node


def reasons() -> Mapping[str, set[str]]:
    """Return every reason in the code with the statuses it occurs with."""
    found = defaultdict[str, set[str]](set)
    for path, name, call in calls("tasks", "flows"):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        reason: ast.expr | None = None
        failed: ast.expr = ast.Constant(value=False)
        if name == "PageError":
            reason, failed = next(iter(call.args), None), given.get("failed", failed)
        elif name == "pdf_errors" and len(call.args) == 1:  # tasks.pdf.bounded_reading.pdf_errors, by its own defaults
            reason = given.get("reason", ast.Constant(value="damaged"))
            failed = given.get("failed", ast.Constant(value=True))
        elif name in ("_fail", "fail_document") and len(call.args) > 1:
            reason, failed = call.args[1], ast.Constant(value=True)
        if isinstance(reason, ast.Constant):
            is_literal = isinstance(failed, ast.Constant)
            found[str(reason.value)] |= {"failed" if failed.value else "kept"} if is_literal else {"failed", "kept"}  # type: ignore[attr-defined]
        elif reason is not None:
            assert path in PASSED_ON, f"{path}:{call.lineno}: a reason is no literal, so that nobody can look it up"
    return found


def retried_by(reason: str, statuses: set[str]) -> str:
    """Return what retries pages with a reason."""
    if reason in RETRIED_REASONS:
        return "every rerun"
    return "`--retry-failed`" if "failed" in statuses else "never"


def rows_of(heading: str, page: Path = OPERATIONS) -> list[list[str]]:
    """Return the cells of the tables below a heading, without their header rows."""
    text = page.read_text("utf-8")
    begin = re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE)
    assert begin is not None, f"there is no heading {heading!r}"
    part = re.split(r"^#+ ", text[begin.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, cells in enumerate(rows) if set("".join(cells)) <= set("- ")]
    return [cells for number, cells in enumerate(rows) if number not in rules and number + 1 not in rules]


def first_code(cell: str) -> str:
    """Return the first text between backquotes in a cell."""
    found = re.search(r"`([^`]+)`", cell)
    assert found is not None, cell
    return found[1]


def default_of(model: type[Closed], name: str) -> str:
    """Return the default of a setting as the documentation writes it."""
    default = model.model_fields[name].default
    if default is None or default in ((), {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if isinstance(default, str) else f"{default:,g}" if default < 1e6 else f"{default:,}"


def test_every_reason_that_a_row_can_have_is_explained() -> None:
    assert {first_code(cells[0]) for cells in rows_of("Reasons")} == reasons().keys()


def test_a_reason_stands_with_its_status_and_with_who_tries_it_again() -> None:
    found = reasons()
    for reason, statuses, again, meaning, to_do in rows_of("Reasons"):
        name = first_code(reason)
        assert {one.strip() for one in statuses.split(",")} == found[name], name
        assert again == retried_by(name, found[name]), name
        assert meaning, name
        assert to_do, name


def test_reasons_are_looked_for_where_problems_are_made() -> None:
    found = reasons()
    assert found["ocr_timeout"] == {"kept"}
    assert found["not_writable"] == {"kept"}
    assert found["worker_killed"] == {"failed"}
    assert found["damaged"] == {"failed", "kept"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_of_a_section_stands_with_its_default(section: str) -> None:
    model = SECTIONS[section]
    rows = {first_code(name): default for name, default, *_ in rows_of(f"`{section}`")}
    assert rows == {f"{section}.{name}": default_of(model, name) for name in model.model_fields}


def test_every_exit_code_is_explained() -> None:
    codes = {0, cli.BROKEN, cli.WRONG_SETTINGS, cli.SOME_FAILED, cli.INTERRUPTED}
    assert {int(cells[0]) for cells in rows_of("Exit codes")} == codes


def test_everything_that_verify_finds_is_explained() -> None:
    assert {first_code(cells[0]) for cells in rows_of("Findings of verify")} == set(get_args(DamageKind))


def test_every_class_of_cluster_stands_with_its_options() -> None:
    output = {
        first_code(kind): set(re.findall(r"`([^`]+)`", options)) for kind, options in rows_of("Classes and options")
    }
    assert output == {kind: set(option_names(kind)) for kind in get_args(ClusterKind)}


def test_every_protocol_is_named() -> None:
    named = set(re.findall(r"`(\w+)://`", OPERATIONS.read_text("utf-8")))
    assert set(PROTOCOLS) <= named


def variables_of_the_code() -> set[str]:
    """Return Foliopress's own environment variables that are read outside tests."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    return {name for path in files for name in re.findall(r"\bFOLIOPRESS_[A-Z_]+\b", path.read_text("utf-8"))}


def test_every_variable_of_our_own_is_named() -> None:
    named = {name for cells in rows_of("Environment variables") for name in re.findall(r"`([A-Z_]+)`", cells[0])}
    assert variables_of_the_code() <= named


def texts_of_the_code() -> set[str]:
    """Return all string constants in the code; those with values, piece by piece."""
    nodes = (node for tree in trees(*CODE).values() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("heading", ["Exit code 2", "Exit code 1", "Exit code 3", "Lines on stderr"])
def test_messages_are_quoted_as_the_code_says_them(heading: str) -> None:
    texts = texts_of_the_code()
    rows = rows_of(heading)
    assert rows
    for cells in rows:
        for piece in filter(None, (piece.strip(" :,;.()") for piece in first_code(cells[0]).split("…"))):
            assert any(piece in text for text in texts), piece


def test_every_file_that_the_architecture_names_exists() -> None:
    paths = re.findall(r"`((?:[a-z_]+/)+(?:[a-z0-9_]+\.py)?)`", ARCHITECTURE.read_text("utf-8"))
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_type_of_the_architecture_is_defined_in_its_file() -> None:
    rows = rows_of("Path of a page", ARCHITECTURE)
    assert len(rows) > 10
    for name, path, _ in rows:
        nodes = ast.parse((ROOT / first_code(path)).read_text("utf-8")).body
        classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        unions = {
            target.id
            for node in nodes
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert first_code(name) in classes | unions, name
    drawn = re.findall(r": .*\b([A-Z][a-z]+[A-Za-z]*)$", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    assert set(drawn) <= {first_code(name) for name, *_ in rows}


def test_every_topic_package_stands_in_the_architecture() -> None:
    named = {path for cells in rows_of("Packages", ARCHITECTURE) for path in re.findall(r"`([^`]+)`", cells[0])}
    packages = {
        path.parent.relative_to(ROOT) for top in ("tasks", "flows") for path in ROOT.glob(f"{top}/*/__init__.py")
    }
    assert named == {f"{package.as_posix()}/" for package in packages}


def test_the_architecture_answers_twenty_questions() -> None:
    rows = rows_of("Questions and files", ARCHITECTURE)
    assert len({question for question, _ in rows}) >= 20
    assert all(question.endswith("?") and path == f"`{first_code(path)}`" for question, path in rows)


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a Markdown file's headings, as GitHub derives them."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = sorted(path.relative_to(ROOT).as_posix() for glob in ("*.md", "docs/*.md") for path in ROOT.glob(glob))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link
