"""Manage a DEST: commit shards, compare files with the statistics, repair records, delete orphaned outputs."""
