"""Keep the books of a DEST: which shards are committed, and the files of statistics that hold their rows."""
