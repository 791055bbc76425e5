"""What to do: frozen settings, and the profiles that fill them."""
