"""Options: read from YAML and the command line, completed with defaults, and checked before anything starts."""

from pdd_arch.config.check import check_options
from pdd_arch.config.settings import AdaptationSettings

__all__ = ['AdaptationSettings', 'check_options']
