"""Models registered with BasicSR."""

from pdd_arch.models.pdd_model import PDDModel

__all__ = ['PDDModel']
