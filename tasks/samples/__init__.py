"""Generate a sample archive of pages that look scanned."""
