"""Choosing among checkpoints without ground truth: an estimate of the camera, signals of a network, a choice."""

from pdd_arch.selection.camera import CameraEstimate, estimate_camera
from pdd_arch.selection.signals import Choice, HeldOut, Signals, choose, hold_out

__all__ = ['CameraEstimate', 'Choice', 'HeldOut', 'Signals', 'choose', 'estimate_camera', 'hold_out']
