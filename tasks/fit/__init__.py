"""Fit a page: search for the smallest encoding that passes the checks."""
