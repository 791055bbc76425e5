"""Read image files: headers, frames, metadata and upright pages; write multi-page TIFFs."""
