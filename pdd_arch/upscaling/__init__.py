"""Photographs through a network: one at a time, and folders of them."""

from pdd_arch.upscaling.compare import write_comparison
from pdd_arch.upscaling.engine import PhotoUpscaler
from pdd_arch.upscaling.inputs import Item, find_inputs, plan_outputs
from pdd_arch.upscaling.job import Events, Outcome, Refused, job_settings, pending, run_job
from pdd_arch.upscaling.record import Record

__all__ = [
    'Events',
    'Item',
    'Outcome',
    'PhotoUpscaler',
    'Record',
    'Refused',
    'find_inputs',
    'job_settings',
    'pending',
    'plan_outputs',
    'run_job',
    'write_comparison',
]
