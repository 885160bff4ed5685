"""Checks of option files for Real-ESRGAN's models and datasets, which read most of their options without a default."""

from collections.abc import Iterator, Mapping
from os import path as osp
from typing import Any

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.data.section import check_kernels
from pdd_arch.data.sources import LmdbSource, data_root, require_folder
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.images.decoding import image_size
from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.degradation import RealESRGANKernels, RealESRGANResizing
from pdd_arch.options.fields import PositiveCount, Section, Size
from pdd_arch.options.messages import validated
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.classes import derives_from, model_of
from pdd_arch.utils.wording import did_you_mean, show, shown

#: side of the images that the dataset cuts out or pads to
_SIDE = 400
#: pixels that sharpening and blur mirror at each border; an image has to be larger
_SHARPENING, _BLUR = 25, 10


class _Model(Section):
    """What both models read at the top of a file."""

    gt_size: Size
    queue_size: PositiveCount = 180


class _NetSwitches(Section):
    gt_usm: bool


class _GANSwitches(Section):
    l1_gt_usm: bool
    percep_gt_usm: bool
    gan_gt_usm: bool


class _Augmentation(Section):
    use_hflip: bool
    use_rot: bool


class _Scale(Section):
    scale: PositiveCount


#: whose images are looked at here
REAL_ESRGAN_SETS = ('RealESRGANDataset', 'RealESRGANPairedDataset')
_SECTIONS = (_Model, _NetSwitches, _GANSwitches, _Augmentation, RealESRGANKernels, RealESRGANResizing)


def check_real_esrgan(options: RunOptions) -> None:
    """What stands in the file for a training of ``RealESRNetModel`` or ``RealESRGANModel`` is complete and fits.

    Nothing is checked for other models. Raises the `PDDError` that fits.
    """
    if not is_real_esrgan(options):
        return
    model = model_of(options)
    opt = options.for_basicsr()
    data, synthetic = opt['datasets']['train'], opt.get('high_order_degradation', True)
    if derives_from(model, 'RealESRGANModel'):
        _complete(_GANSwitches, opt)
    pairs = data.get('type') in ('RealESRGANPairedDataset', 'PairedImageDataset')
    if synthetic and pairs:
        raise OptionError(
            f'{data["type"]} gives pairs, but {options.file.model_type} makes the LR images itself',
            where='datasets.train.type',
            way_out='Use RealESRGANDataset, or set high_order_degradation: false.',
        )
    if not synthetic and data.get('type') == 'RealESRGANDataset':
        raise OptionError(
            'false, but RealESRGANDataset gives no LR images',
            where='high_order_degradation',
            way_out='Use RealESRGANPairedDataset, or remove it.',
        )
    if synthetic:
        if derives_from(model, 'RealESRNetModel'):
            _complete(_NetSwitches, opt)
        _check_synthesis(opt, batch=(data.get('batch_size_per_gpu') or 1) * max(_gpus(options), 1))
    if data.get('type') == 'RealESRGANDataset':
        _check_dataset(data)
    elif data.get('type') == 'RealESRGANPairedDataset':
        _check_pairs(data)


def is_real_esrgan(options: RunOptions) -> bool:
    """Whether a run trains one of Real-ESRGAN's models, whose data is checked here."""
    return options.is_train and derives_from(model_of(options), 'RealESRNetModel', 'RealESRGANModel')


def _gpus(options: RunOptions) -> int:
    asked = options.file.num_gpu
    return 1 if options.distributed or asked == 'auto' else asked


def _complete(model: type[Section], opt: Mapping[str, Any], where: str = '') -> Any:
    """The options of a section that a class reads, each of which has to be there unless it has a default."""
    prefix = f'{where}.' if where else ''
    known = {name for section in (*_SECTIONS, BasicOptions) for name in section.model_fields}
    for name, field in model.model_fields.items():
        inherited = issubclass(model, RealESRGANKernels | RealESRGANResizing)  # whose defaults are not BasicSR's
        if opt.get(name) is None and (inherited or field.is_required()):
            hint = did_you_mean(name, [str(key) for key in opt if key not in known], cutoff=0.75)
            raise OptionError('missing', where=f'{prefix}{name}', way_out=hint)
    return validated(model, {name: opt[name] for name in model.model_fields if name in opt}, where)


def _check_synthesis(opt: Mapping[str, Any], batch: int) -> None:
    """The degradation, the crop and the queue of pairs go together."""
    read, resizing = _complete(_Model, opt), _complete(RealESRGANResizing, opt)
    scale = validated(_Scale, {'scale': opt.get('scale')}).scale
    if _SIDE % scale or _SIDE // scale <= _BLUR:
        divisors = ', '.join(str(n) for n in range(1, _SIDE // _BLUR) if _SIDE % n == 0)
        raise OptionError(
            where='scale', expected=f'a divisor of {_SIDE}, the side of the images ({divisors})', found=str(scale)
        )
    if read.gt_size % scale or not _SHARPENING < read.gt_size <= _SIDE:
        raise OptionError(
            where='gt_size',
            expected=f'a multiple of the scale {scale} from {_SHARPENING + 1} to {_SIDE}',
            found=str(read.gt_size),
        )
    if read.queue_size % batch:
        raise OptionError(
            where='queue_size',
            expected=f'a multiple of the {batch} images of a step (datasets.train.batch_size_per_gpu)',
            found=str(read.queue_size),
        )
    if int(_SIDE * resizing.resize_range[0]) <= _BLUR:
        raise OptionError(
            f'images of {_SIDE} pixels would become too small for the blur kernels',
            where='resize_range[0]',
            expected=f'more than {(_BLUR + 1) / _SIDE:g}',
            found=f'{resizing.resize_range[0]:g}',
        )


def _check_dataset(data: Mapping[str, Any]) -> None:
    where = 'datasets.train'
    kernels = _complete(RealESRGANKernels, data, where)
    for number in ('', '2'):
        check_kernels(kernels, number, where)
    _complete(_Augmentation, data, where)
    if _in_lmdb(data, ('gt',), where):
        source = _lmdb(data, 'gt', where)
        for index in range(len(source)):
            source.check(index)
        return
    for (name,) in _listed(data, ('gt',), where):
        image_size(name)


def _check_pairs(data: Mapping[str, Any]) -> None:
    where = 'datasets.train'
    _complete(_Augmentation, data, where)
    as_pairs = {**data, 'type': 'PairedImageDataset', 'meta_info_file': None}
    if _in_lmdb(data, ('gt', 'lq'), where):
        for side in ('gt', 'lq'):
            _lmdb(data, side, where)
    elif data.get('meta_info') is not None:
        for _ in _listed(data, ('gt', 'lq'), where):
            pass
        as_pairs['meta_info_file'] = data['meta_info']
    check_paired_dataset(as_pairs, where)


def _in_lmdb(data: Mapping[str, Any], sides: tuple[str, ...], where: str) -> bool:
    """Whether a dataset reads LMDBs, all of its folders being there and its ``io_backend`` one that it takes."""
    backend = data.get('io_backend')
    if not isinstance(backend, Mapping) or backend.get('type') not in ('disk', 'lmdb'):
        found = 'nothing' if backend is None else show(backend)
        raise OptionError(where=f'{where}.io_backend', expected='{type: disk} or {type: lmdb}', found=found)
    for side in sides:
        root = data_root(data, side, where)[0]
        require_folder(root, f'{where}.dataroot_{side}')
        if backend['type'] == 'lmdb' and not root.endswith('.lmdb'):
            way_out = f'Write {root.rstrip("/")}.'
            raise OptionError(f'{root} does not end in .lmdb', where=f'{where}.dataroot_{side}', way_out=way_out)
    if backend['type'] == 'disk' and (options := [name for name in backend if name != 'type']):
        raise OptionError('is for type: lmdb only', where=f'{where}.io_backend.{options[0]}', way_out='Remove it.')
    return bool(backend['type'] == 'lmdb')


def _lmdb(data: Mapping[str, Any], side: str, where: str) -> LmdbSource:
    """An LMDB each of whose keys is what these datasets take for it: the name up to its first dot."""
    root, key, _ = data_root(data, side, where)
    source = LmdbSource(root, key)
    if dotted := next((name for name in source.names if '.' in name), None):
        raise DataError(
            f'{shown(root)} holds the image {dotted!r}, which BasicSR looks for as {dotted.partition(".")[0]!r}',
            where=key,
            way_out='Make the LMDB anew, from names without dots before the extension.',
        )
    return source


def _listed(data: Mapping[str, Any], sides: tuple[str, ...], where: str) -> Iterator[list[str]]:
    """The paths of each line of a list, split as BasicSR splits it."""
    key, file, roots = f'{where}.meta_info', data.get('meta_info'), [data[f'dataroot_{side}'] for side in sides]
    if not isinstance(file, str):
        raise OptionError('missing', where=key, expected='a text file that lists the images')
    expected, rule = 'the name of an image', 'a name up to the first space'
    if len(sides) > 1:
        expected, rule = 'the names of a GT and an LR image, `gt, lq`', 'two names with a comma and a space between'
    try:
        with open(file) as opened:  # in the encoding that BasicSR reads it with
            lines = list(opened)
    except (OSError, UnicodeDecodeError) as e:
        raise MissingFileError(f'{shown(file)} cannot be read ({e})', where=key, way_out='Correct the path.') from None
    if not lines:
        raise DataError(f'{shown(file)} lists no image', where=key, way_out='Write one name a line.')
    for number, line in enumerate(lines, 1):
        names = line.strip().split(', ') if len(sides) > 1 else line.strip().split(' ')[:1]
        paths = [osp.join(root, name) for root, name in zip(roots, names, strict=False)]
        if len(names) != len(sides) or not all(map(osp.isfile, paths)):
            raise DataError(
                where=f'{key}, line {number}',
                expected=f'{expected}, below {" and ".join(map(shown, roots))}',
                found=repr(line.rstrip('\n')[:200]) if line.strip() else 'an empty line',
                way_out=f'Real-ESRGAN reads {rule} in each line, without a byte-order mark. Correct the list.',
            )
        yield paths
