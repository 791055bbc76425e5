"""Process pages, tiles and masks with plain functions, one package per topic; no scheduler is imported here."""
