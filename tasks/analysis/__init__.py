"""Analyse a page before it is compressed: its strokes, tiles, colour marks, kind and resolution."""
