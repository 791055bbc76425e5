"""Run the command line: `python -m foliopress`."""

from foliopress.flows.cli import main

if __name__ == "__main__":
    main()
