"""Adaptation for people with photographs: from two folders to a model, without an option file written by hand."""

from pdd_arch.adaptation.job import Adaptation, adapt

__all__ = ['Adaptation', 'adapt']
