"""One run: its lease on DEST, its shards and its summary."""
