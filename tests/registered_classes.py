"""What becomes of everything that BasicSR, Real-ESRGAN and this package register: facts for tests and for the table.

A name is checked and trained by the published option files in which it stands, or by a test that is named here, or it
is not supported for a reason. ``experiments/registries.py`` writes `table` to a file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.utils import registry
from published_files import FAULTY, TESTED, TESTING, TRAINED, TRAINING, UNPUBLISHED

KINDS = {
    'model': registry.MODEL_REGISTRY,
    'dataset': registry.DATASET_REGISTRY,
    'arch': registry.ARCH_REGISTRY,
    'loss': registry.LOSS_REGISTRY,
    'metric': registry.METRIC_REGISTRY,
}
PACKAGES = ('basicsr', 'realesrgan', 'pdd_arch')

# ---------------------------------------------------------------- tried in tests/test_registries.py
#: options, and the shape of one input
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    'RIDNet': (dict(in_channels=3, mid_channels=16, out_channels=3), (3, 16, 16)),
    'DUF': (dict(scale=4, num_layer=16), (7, 3, 8, 8)),
    'TOFlow': ({}, (7, 3, 32, 32)),
    'BasicVSRPlusPlus': (dict(mid_channels=8, num_blocks=1), (2, 3, 64, 64)),
}
#: options, and what the loss is called with beside an image
LOSSES: dict[str, tuple[dict[str, Any], object]] = {
    'L1Loss': ({}, 'image'),
    'MSELoss': ({}, 'image'),
    'CharbonnierLoss': ({}, 'image'),
    'WeightedTVLoss': ({}, None),
    'GANLoss': (dict(gan_type='vanilla'), True),
    'MultiScaleGANLoss': (dict(gan_type='vanilla'), True),
}
METRICS = ('calculate_psnr', 'calculate_ssim', 'calculate_niqe')

# ---------------------------------------------------------------- tried in other tests, and not supported
#: of this package, which is checked more closely, and what of BasicSR is tried elsewhere; by test file
TESTS = {
    'PDDModel': 'test_pdd_model',
    'RealESRNetModel': 'test_real_esrgan',
    'UnpairedAdaptationDataset': 'test_data_unpaired_dataset',
    'SpandrelNet': 'test_generalists',
    'PairwiseDistanceLoss': 'test_losses',
    'HaarWaveletLoss': 'test_losses',
    'FeatureDistillationLoss': 'test_extra_losses',
    'ContrastiveDistillationLoss': 'test_extra_losses',
    'OutputDistillationLoss': 'test_extra_losses',
    'calculate_lpips': 'test_metrics',
    'calculate_dists': 'test_metrics',
    'calculate_feature_distance': 'test_metrics',
    'calculate_iqa': 'test_metrics',
}
EXTENSION = (
    "BasicSR's activation of StyleGAN2 is a CUDA operator that has to be compiled (an installation of BasicSR with "
    'BASICSR_EXT=True), and has no other implementation'
)
OF_TENSORS = 'takes batches of tensors, a validation gives it images'
UNSUPPORTED = {
    'StyleGAN2Model': EXTENSION,
    'StyleGAN2Generator': EXTENSION,
    'StyleGAN2Discriminator': EXTENSION,
    'FFHQDataset': 'gives GT images alone, for StyleGAN2Model; its samples are read in tests/test_registries.py',
    'DFDNet': 'asks for the positions of eyes, nose and mouth, which no dataset and no model of BasicSR gives',
    'SpyNet': 'gives the flow between two images, not an image; a part of BasicVSR, IconVSR and BasicVSRPlusPlus',
    'VGGFeatureExtractor': 'gives features, not an image; a part of PerceptualLoss',
    'calculate_psnr_pt': OF_TENSORS,
    'calculate_ssim_pt': OF_TENSORS,
}


# ---------------------------------------------------------------- the table
@dataclass(frozen=True)
class Row:
    """A registered name; empty where there is nothing to say."""

    kind: str
    name: str
    checked: str = ''
    trained: str = ''
    unsupported: str = ''


def registered(kind: str) -> set[str]:
    """The names of a registry, without those that scripts of tests have added."""
    found = {name for name, obj in KINDS[kind] if obj.__module__.split('.')[0] in PACKAGES}
    return {name.removesuffix('_basicsr') for name in found}


def named_in(options: Mapping[str, Any]) -> set[str]:
    """The registered names that stand in an option file."""
    sections: list[Any] = [*options['datasets'].values(), *((options.get('val') or {}).get('metrics') or {}).values()]
    sections += [section for key, section in options.items() if key.startswith('network_')]
    sections += [section for key, section in options.get('train', {}).items() if key.endswith('_opt')]
    return {options['model_type'], *(section['type'] for section in sections)}


def _count(files: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(name for file in files for name in named_in(file))


def rows() -> Iterator[Row]:
    """All registered names, by kind and name."""
    files = {**TRAINING, **TESTING}
    refused = _count(file for path, file in files.items() if path in FAULTY)
    checked = _count([*(file for path, file in files.items() if path not in FAULTY), *UNPUBLISHED.values()])
    trained = _count([*(TRAINING[path] for path in TRAINED), *UNPUBLISHED.values()])
    tested = _count(TESTING[path] for path in TESTED)
    tried = {'arch': NETWORKS, 'loss': LOSSES, 'metric': METRICS}
    for kind in KINDS:
        for name in sorted(registered(kind), key=str.lower):
            runs = []
            if name in TESTS:
                runs.append(f'{TESTS[name]}.py')
            if trained[name]:
                runs.append(f'test_published_files.py ({_counted(trained[name], "training")})')
            elif tested[name]:
                runs.append(f'test_published_files.py ({_counted(tested[name], "`basicsr test`", "")})')
            if name in tried.get(kind, ()):
                runs.append('test_registries.py')
            yield Row(kind, name, _checked_by(name, checked, refused), ', '.join(runs), UNSUPPORTED.get(name, ''))


def _checked_by(name: str, checked: Counter[str], refused: Counter[str]) -> str:
    if name in TESTS:
        return f'{TESTS[name]}.py'
    if checked[name]:
        return f'test_published_files.py ({_counted(checked[name], "file")})'
    return f'test_published_files.py ({_counted(refused[name], "file")}, refused)' if refused[name] else ''


def _counted(number: int, what: str, plural: str = 's') -> str:
    return f'{number} {what}{plural if number > 1 else ""}'


HEAD = """# Registered classes

What becomes of everything in BasicSR's registries, with BasicSR 1.4.2 and Real-ESRGAN 0.3.0, on the CPU.

- Checked by: where `basicsr train --check` or `basicsr test --check` finds no fault in an option file that names it, or
  says why the file cannot run ("refused").
- Trained in a test: trained, validated and resumed from an option file, run by `basicsr test`, or, in
  `test_registries.py`, called by itself and, but for metrics, differentiated.

All files are in `tests/`. Made by `python experiments/registries.py`; a test compares it with the registries.
"""


def table() -> str:
    """The table in Markdown."""
    lines = [HEAD]
    for kind in KINDS:
        lines += [f'## {kind}', '', '| | checked by | trained in a test | not supported because |', '|---|---|---|---|']
        for row in rows():
            if row.kind == kind:
                lines.append(f'| {row.name} | {row.checked} | {row.trained} | {row.unsupported} |')
        lines.append('')
    return '\n'.join(lines)
