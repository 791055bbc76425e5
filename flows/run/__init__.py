"""Run one compression: hold the lease on DEST, cut shards, commit them, and write the summary."""
