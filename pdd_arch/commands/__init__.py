"""The commands ``basicsr`` and ``pdd``."""
