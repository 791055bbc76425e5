"""The order: the only home of Prefect and Dask, and the command line."""
