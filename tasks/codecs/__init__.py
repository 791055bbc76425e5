"""Encode pixels as AVIF, WebP, JPEG, JPEG 2000, JPEG XL, PNG or TIFF."""
