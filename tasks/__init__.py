"""Plain functions on pages, tiles and masks, one topic a package; no scheduler is imported here."""
