"""Data: the training set and its sources, and checks of BasicSR's validation sets."""
