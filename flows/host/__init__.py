"""Adapt to the host: cores and memory, temporary folders, signals, streams and logs."""
