"""Define the settings, and the profiles that fill them in."""
