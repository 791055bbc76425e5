"""Import every module of the installed package; missing optional dependencies are ignored."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import foliopress

EXTRAS = {"altair", "keras", "matplotlib", "streamlit", "tensorflow", "vl_convert"}


def main() -> int:
    failed = 0
    names = [found.name for found in pkgutil.walk_packages(foliopress.__path__, "foliopress.")]
    for name in names:
        if name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in EXTRAS:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr)
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{len(names)} modules imported by Python {sys.version.split()[0]}, {failed} failed")
    return failed > 0 or len(names) < 200


if __name__ == "__main__":
    sys.exit(main())
