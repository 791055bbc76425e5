"""Witness: look at a source and at its output once more, with other eyes than those that read and wrote them.

Nothing here uses the project's own readers or writers. Images are decoded by OpenCV or imagecodecs, PDF pages are drawn
by pdfium as a viewer draws them.
"""
