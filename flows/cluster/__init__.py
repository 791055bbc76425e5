"""Run the page steps on a Dask cluster: dispatch pages, gate memory, check the workers."""
