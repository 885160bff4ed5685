"""Checks that need the disk, weights or a GPU, made before anything is created or trained."""
