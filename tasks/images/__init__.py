"""Read image files: their headers, frames and metadata, and the upright pages in them; write multi-page TIFFs."""
