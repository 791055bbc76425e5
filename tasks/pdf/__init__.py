"""Read and write PDFs: pages, images, layers and text."""
