"""Read, verify and continue a DEST that an older version wrote."""
