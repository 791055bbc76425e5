"""Benchmarks: what the program claims about its speed, measured; nothing else imports them."""
