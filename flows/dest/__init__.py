"""Keep the books of a DEST: which shards are committed, what lies there and what may be deleted."""
