"""Compare a source with its output through independent decoders.

Nothing here uses the project's own readers or writers. OpenCV or imagecodecs decodes images; pdfium renders PDF pages
as a viewer does.
"""
