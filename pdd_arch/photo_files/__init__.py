"""Photographs as people have them: pixels, and everything that belongs to them."""
