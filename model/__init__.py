"""Importance: the network that judges how much every tile matters."""
