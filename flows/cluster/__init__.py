"""Run the page steps on a Dask cluster: dispatch documents, limit pages in flight, check the workers."""
