"""Recognise text with Tesseract: words, their mask, the orientation of a page; export the text."""
