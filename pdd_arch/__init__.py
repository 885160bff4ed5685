"""Pairwise distance distillation (ECCV 2024) as a plugin for BasicSR and Real-ESRGAN.

Importing this package makes BasicSR work on a current stack and registers `PDDModel`, its losses, datasets, networks
and metrics, so that BasicSR's own training loop runs adaptation from option files.
"""

from pdd_arch import compat

compat.apply()

from pdd_arch import archs, basicsr_loop, metrics  # noqa: E402, F401  (archs and metrics register theirs)
from pdd_arch.adaptation import adapt  # noqa: E402
from pdd_arch.api import Upscaler  # noqa: E402
from pdd_arch.commands.errors import explain_if_uncaught  # noqa: E402
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset  # noqa: E402
from pdd_arch.features import FeatureNet  # noqa: E402
from pdd_arch.losses import DistillationLoss, HaarWaveletLoss, PairwiseDistanceLoss  # noqa: E402
from pdd_arch.models import PDDModel  # noqa: E402
from pdd_arch.version import __version__  # noqa: E402

basicsr_loop.install(explain_if_uncaught)

__all__ = [
    'DistillationLoss',
    'FeatureNet',
    'HaarWaveletLoss',
    'PDDModel',
    'PairwiseDistanceLoss',
    'UnpairedAdaptationDataset',
    'Upscaler',
    '__version__',
    'adapt',
]
