"""Compress archives of scanned documents in bulk, keep their text readable, and prove it.

In a checkout the packages are links to the folders beside this one; an installation has them here.
"""
