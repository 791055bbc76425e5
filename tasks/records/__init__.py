"""Write and read the records that a run leaves: statistics, PREMIS events, BagIt bags."""
