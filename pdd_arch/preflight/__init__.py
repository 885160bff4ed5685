"""Checks that need the disk, weights or a GPU, made before anything is created or trained.

Each raises the `PDDError` that fits, which names the option and the way out. Without `fetch` nothing is downloaded, and
published weights that are not on this machine are not looked at, unless only they tell what a network is.
"""
