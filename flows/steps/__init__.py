"""The steps of a page and of a document, as Dask workers run them."""
