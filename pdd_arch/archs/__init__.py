"""Networks registered with BasicSR."""

from pdd_arch.archs.spandrel_arch import SpandrelNet

__all__ = ['SpandrelNet']
