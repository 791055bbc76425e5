"""Run Tesseract's library in a process of its own: one per worker, started once, so that no page waits for it to load.

In its own process, a Tesseract that crashes, hangs or is killed does not end the worker. Requests are lines of JSON on
its standard input, `{"language": …, "psm": …, "dpi": …, "pictures": [path, …]}`. A response is a line with the number
of bytes, and so many bytes of JSON: Tesseract's table of each image, `{"error": …}` if an image cannot be read, or
`{"trouble": …}` if the library cannot work on this machine.

python -P -m foliopress.tasks.ocr.tesseract_worker TESSDATA
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
    """The library, its languages or a file of ours cannot be used on this machine, whatever the image."""


def tables_of(request: dict[str, Any], apis: dict[str, Any], tessdata: str) -> list[str]:
    """Return Tesseract's table (TSV) of each image; load the library once per language.

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
            raise RuntimeError("Tesseract could not read the image")
        tables.append(api.GetTSVText(0))
        api.Clear()  # one image must not influence the next
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
    """Yield requests as they arrive; the end of input, when the worker ends, ends the process at once."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # also from the middle of a page

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer requests until the end of input."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output printed by a library must not mix with responses
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
