"""Fit in with the machine: its cores and memory, temporary folders, signals, streams and logs."""
