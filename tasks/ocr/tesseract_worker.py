"""The process in which Tesseract's library reads: one a worker, started once, so that no page waits for it to load.

It is a process of its own so that a Tesseract which crashes, hangs or is killed takes no worker along. It is asked by
lines of JSON on its standard input, `{"language": …, "psm": …, "dpi": …, "pictures": [path, …]}`, and answers each with
a line that holds the number of bytes, and so many bytes of JSON: Tesseract's table of each picture, `{"error": …}` if
one cannot be read, or `{"trouble": …}` if the library cannot work on this machine.

python -m foliopress.tasks.ocr.tesseract_worker TESSDATA
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any


class Trouble(Exception):
    """The library, its languages or a file of ours cannot be used on this machine, whatever the picture."""


def tables_of(request: dict[str, Any], apis: dict[str, Any], tessdata: str) -> list[str]:
    """Return Tesseract's table (TSV) of each picture; the library is loaded once for each language.

    Raises:
        Trouble: If this machine is at fault.
    """
    api = _loaded(request["language"], apis, tessdata)
    api.SetPageSegMode(request["psm"])
    api.SetVariable("user_defined_dpi", str(request["dpi"]))
    tables = []
    for path in request["pictures"]:
        _check_file(path)
        api.SetImageFile(path)
        if not api.Recognize():
            raise RuntimeError("Tesseract could not read the picture")
        tables.append(api.GetTSVText(0))
        api.Clear()  # what it has learnt of one picture must not colour the next
        api.ClearAdaptiveClassifier()
    return tables


def _loaded(language: str, apis: dict[str, Any], tessdata: str) -> Any:
    try:
        import tesserocr

        if language not in apis:
            apis[language] = tesserocr.PyTessBaseAPI(path=tessdata, lang=language, oem=tesserocr.OEM.LSTM_ONLY)
    except Exception as error:
        raise Trouble(f"{type(error).__name__}: {error}") from error
    return apis[language]


def _check_file(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Trouble(f"{type(error).__name__}: {error}") from error


def _requests() -> Iterator[str]:
    """Yield requests as they come; the end of them, which is that of the worker, ends the process at once."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # also from the middle of a page

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    apis: dict[str, Any] = {}
    for line in _requests():
        try:
            answer: object = tables_of(json.loads(line), apis, sys.argv[1])
        except (Trouble, MemoryError) as error:
            answer = {"trouble": str(error) or type(error).__name__}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        data = json.dumps(answer).encode()
        answers.write(b"%d\n" % len(data) + data)
        answers.flush()


if __name__ == "__main__":
    main()
