"""The work: one step of a page's way per file, plain functions on arrays and values."""
