"""The order: the only home of Prefect and Dask, and the command line."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # before anything here imports Prefect: its analytics stay off
