"""Compare an encoding with its source: legibility, OCR, perceptual quality; audit stored outputs."""
