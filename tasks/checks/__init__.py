"""Judge an encoding against its source: legibility, words that read the same, how it looks; audit stored outputs."""
