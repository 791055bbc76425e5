"""Draw synthetic pages for training: write, age and scan sheets, and record exactly where their ink is."""
