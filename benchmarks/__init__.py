"""Benchmarks for the performance claims of the program; no other package imports them."""
