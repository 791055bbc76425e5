"""Write docs/reliability.md from the counts of the torture tests, and print the totals in one line.

python scripts/reliability.py LEDGER.json REPORT.md
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

CROSS = " × "  # separates a fault from the format it is injected into

HEAD = """# Reliability

What Foliopress promises, what was done to break it, and what came of it. `make torture` runs these tests, against the
real thing: processes are killed, sockets cut, disks filled, files spoiled. It wrote this page from their counts
([reliability.json](reliability.json)); nothing here is written by hand.

*Tried* are faults: a kill at one moment, a spoiled file, a request that met an error, a case of a test. *Survived* are
those after which everything was as it would have been without; *lost* counts objects and rows that were not. *Reruns*
tells after how many of them the same command had to be given once more.
"""


def report(ledger: dict[str, object], rows: list[dict[str, object]]) -> str:
    """Return the report as Markdown, with one table per promise."""
    parts = [HEAD, f"{summary(ledger, rows)}.\n"]
    for promise, group in groupby(sorted(rows, key=lambda row: str(row["promise"])), lambda row: row["promise"]):
        parts.append(f"## {promise}\n")
        rows_of_it = list(group)
        if all(CROSS in str(row["fault"]) for row in rows_of_it):
            parts.append(crossed(rows_of_it))
            continue
        parts.append("| fault | test | tried | survived | lost | reruns |\n| --- | --- | --- | --- | --- | --- |")
        for row in rows_of_it:
            file, _, name = str(row["test"]).partition("::")
            test = f"[{name or Path(file).stem}](../{file})"
            figures = " | ".join(f"{row[name]:,}" for name in ("tried", "survived", "lost", "reruns"))
            parts.append(f"| {row['fault']} | {test} | {figures} |")
        parts.append("")
    return "\n".join(parts)


def crossed(rows: list[dict[str, object]]) -> str:
    """Return faults named `FAULT × FORMAT` as one table with a column per format: caught / tried."""
    faults = dict.fromkeys(str(row["fault"]).partition(CROSS)[0] for row in rows)
    forms = dict.fromkeys(str(row["fault"]).partition(CROSS)[2] for row in rows)
    cells = {str(row["fault"]): f"{row['survived']:,} / {row['tried']:,}" for row in rows}
    tests = dict.fromkeys(str(row["test"]).partition("::")[0] for row in rows)
    links = ", ".join(f"[{Path(one).stem}](../{one})" for one in tests)
    lines = [
        f"Caught / tried, by the format of the output ({links}).\n",
        f"| fault | {' | '.join(forms)} |",
        f"| --- |{' --- |' * len(forms)}",
        *(f"| {fault} | {' | '.join(cells.get(fault + CROSS + form, '–') for form in forms)} |" for fault in faults),
        "",
    ]
    return "\n".join(lines)


def summary(ledger: dict[str, object], rows: list[dict[str, object]]) -> str:
    """Return the totals in one line."""
    tried, survived, lost, reruns = (
        sum(int(str(row[name])) for row in rows) for name in ("tried", "survived", "lost", "reruns")
    )
    where = f"{ledger['minutes']} minutes on {ledger['cores']} cores"
    return f"{tried:,} faults in {len(rows)} rows: {survived:,} survived, {lost:,} lost, {reruns:,} reruns; {where}"


def main() -> None:
    ledger_path, report_path = map(Path, sys.argv[1:])
    ledger = json.loads(ledger_path.read_text(encoding="utf-8"))
    report_path.write_text(report(ledger, ledger["rows"]), encoding="utf-8")
    print(summary(ledger, ledger["rows"]))
    sys.exit(any(row["lost"] for row in ledger["rows"]))


if __name__ == "__main__":
    main()
