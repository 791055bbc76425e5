"""Drawn pages: sheets that are written on, aged and scanned here, with a record of where their ink lies."""
