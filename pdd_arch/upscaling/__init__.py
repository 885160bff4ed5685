"""Photographs through a network: one at a time, and folders of them."""
