"""List, read and write objects on a disk, on S3 or through fsspec."""
