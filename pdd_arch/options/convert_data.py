"""The two training sets of the released code, with their pipeline, as one `UnpairedAdaptationDataset`."""

from typing import Any

from pdd_arch.degradations.lr_synthesis import KERNELS
from pdd_arch.errors import OptionError
from pdd_arch.options.convert_source import Source

S, T = 'datasets.train_s', 'datasets.train_t'
_PIPELINE = f'{S}.pipeline'

#: one data loader serves both domains: the values of the first set hold
_SHARED = ('num_worker_per_gpu', 'batch_size_per_gpu', 'prefetch_mode', 'pin_memory', 'num_prefetch_queue')


def convert_training_data(source: Source, scale: int) -> dict[str, Any]:
    """``datasets.train`` from ``train_s`` and ``train_t``."""
    for path in (S, T):
        if not source.has(path):
            raise OptionError('missing', where=path, expected='a section')
        source.take(f'{path}.type')
    out: dict[str, Any] = {'name': source.take(f'{S}.name', 'train'), 'type': 'UnpairedAdaptationDataset'}
    source.drop(f'{T}.name', 'both domains are one dataset here, named after train_s')
    out['dataroot_gt'], out['dataroot_lq'] = source.take(f'{S}.dataroot_gt'), source.take(f'{T}.dataroot_lq')
    source.drop(f'{S}.dataroot_lq', 'LR images are made of HR crops; the released code looks at the file names only')
    for path in (S, T):
        source.only(f'{path}.filename_tmpl', '{}', 'nothing is paired by name here')
    for path, key in ((S, 'meta_info_file'), (T, 'meta_info_file_lq')):
        if source.has(f'{path}.meta_info_file'):
            out[key] = source.take(f'{path}.meta_info_file')
    out['io_backend'] = source.take(f'{S}.io_backend', {'type': 'disk'})
    source.only(f'{T}.io_backend', out['io_backend'], 'both domains are read the same way, as train_s says')
    out |= _pipeline(source, scale)
    source.only(f'{S}.gt_size', out['gt_size'], "the released code reads the pipeline's crop_size instead")
    source.only(f'{T}.lq_size', out['gt_size'] // scale, 'LR crops of both domains are gt_size / scale')
    for key in ('use_hflip', 'use_rot'):
        source.only(f'{T}.{key}', out[key], f'both domains are flipped alike: {key} of the pipeline is {out[key]}')
    for path in (S, T):
        source.only(f'{path}.use_shuffle', True, 'training data are always shuffled, also in the released code')
    out |= source.take_known(S, (*_SHARED, 'dataset_enlarge_ratio'))
    for key in _SHARED:
        source.only(f'{T}.{key}', out.get(key), f'one loader serves both domains, as train_s says: {out.get(key)}')
    source.drop(f'{T}.dataset_enlarge_ratio', 'an epoch ends with the larger of both sets: none limits the other')
    return out


def _pipeline(source: Source, scale: int) -> dict[str, Any]:
    """Crop, flips and kernels; what else a step asks for is refused."""
    size, hflip, vflip, transpose, position = None, False, False, False, -1
    kernels: list[str] = []
    while source.has(f'{_PIPELINE}[{position + 1}]'):
        position += 1
        path = f'{_PIPELINE}[{position}]'
        kind = source.take(f'{path}.type')
        if kind == 'FixedCrop':
            size = _side(source, f'{path}.crop_size', None)
        elif kind == 'Flip':
            direction = source.take(f'{path}.direction', 'horizontal')
            source.only(f'{path}.flip_ratio', 0.5, 'flips have the probability 0.5')
            hflip, vflip = hflip or direction == 'horizontal', vflip or direction == 'vertical'
        elif kind == 'RandomTransposeHW':
            source.only(f'{path}.transpose_ratio', 0.5, 'transposition has the probability 0.5')
            transpose = True
        elif kind == 'RandomResize':
            kernels += _kernels(source, path, size, scale)
        elif kind == 'MATLABLikeResize':
            _side(source, f'{path}.output_shape', size and size // scale)
            kernels.append('matlab_bicubic')
        elif kind not in ('CopyValues', 'Quantize', 'Collect'):  # these are always done
            source.note(f'{path}.type', kind, 'LR images are downsampled and rounded to 8 bits; there is no such step')
        for key in ('keys', 'src_keys', 'dst_keys'):
            source.take(f'{path}.{key}')
        source.drop(path, f'a step {kind} has no such setting here')
    if size is None:
        raise OptionError(where=_PIPELINE, expected='a step FixedCrop with its crop_size')
    if vflip != transpose:
        said = 'Flip, vertical' if vflip else 'RandomTransposeHW'
        source.note(_PIPELINE, said, 'use_rot is both, vertical flips and transposition; it was set to false')
    if not kernels:
        raise OptionError(where=_PIPELINE, expected='a step RandomResize or MATLABLikeResize')
    return {'gt_size': size, 'lr_synthesis': {'resize': kernels}, 'use_hflip': hflip, 'use_rot': vflip and transpose}


def _side(source: Source, path: str, expected: int | None) -> int:
    """A size [h, w] as one side; refused where it is not square or not `expected`."""
    value = source.take(path)
    sides: list[int] = value if isinstance(value, list) else [value, value]
    if not sides or not all(isinstance(v, int) and v > 0 for v in sides):
        raise OptionError(repr(value), where=path, expected='a size such as [192, 192]')
    if len(set(sides)) > 1:
        source.note(path, value, f'crops are square; {sides[0]} was taken')
    if expected is not None and sides[0] != expected:
        source.note(path, value, f'LR crops are gt_size / scale: {expected}')
    return sides[0]


def _kernels(source: Source, path: str, size: int | None, scale: int) -> list[str]:
    """Kernels of a `RandomResize` that are here too."""
    _side(source, f'{path}.params.target_size', size and size // scale)
    names: list[str] = source.take_a(f'{path}.params.resize_opt', [])
    chances: list[object] = source.take_a(f'{path}.params.resize_prob', [])
    if len({str(c) for c in chances}) > 1:
        source.note(f'{path}.params.resize_prob', chances, 'all kernels are equally likely')
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        source.note(f'{path}.params.resize_opt', unknown, f'known kernels: {", ".join(KERNELS)}')
    return [name for name in names if name in KERNELS]
