"""BasicSR's ``PairedImageDataset`` and ``SingleImageDataset``: what they read, and whether it is right.

They treat every file in a folder as an image, accept pairs of a wrong scale, and do not name a broken file. Lists and
LMDBs are opened by `open_pair` and `open_single` for the check and for the datasets themselves, so that both read the
same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import path as osp
from typing import Any

from pdd_arch.data.meta_info import below, read_list, require_images
from pdd_arch.data.section import require_size
from pdd_arch.data.sources import FileSource, ImageSource, LmdbSource, data_root, list_images, require_folder
from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.images import decoding
from pdd_arch.images.names import is_image_name
from pdd_arch.utils.wording import show, shown


def check_paired_dataset(opt: Mapping[str, Any], key: str) -> int:
    """Checks what a dataset is going to read; `key` is its place in the option file.

    For each pair GT must be `scale` times as large as LR. Outside training GT may be up to scale - 1 pixels
    larger, which BasicSR cuts off (benchmark sets whose sizes are not divisible by the scale).

    Returns:
        Number of images (or pairs); 0 for a dataset of another type, which is not checked.

    Raises:
        OptionError: a key is missing or the backend is unknown.
        MissingFileError: a folder, meta-info file or listed image does not exist.
        DataError: no image, a file that is no image, a broken image, an LR without its GT or of the wrong size.
    """
    kind = str(opt.get('type'))
    if kind not in ('PairedImageDataset', 'SingleImageDataset'):
        return 0
    if not opt.get('io_backend'):
        raise OptionError(
            'missing', where=f'{key}.io_backend', way_out='Write `io_backend: {type: disk}`, as BasicSR expects.'
        )
    _check_normalisation(opt, key)
    if kind == 'SingleImageDataset':
        source = open_single(opt, key)
        for i in range(len(source)):
            _size(source, i)
        return len(source)

    scale = opt.get('scale')
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise OptionError(where=f'{key}.scale', expected='a positive whole number (`scale: 4`)', found=repr(scale))
    training = opt.get('phase') == 'train'
    crop = _crop_size(opt, key, scale) if training else None
    gt, lq = open_pair(opt, key)
    for i in range(len(gt)):
        lq_size, gt_size = _size(lq, i), _size(gt, i)
        if crop is not None:
            require_size(gt, i, gt_size, crop, scale, 1)
        if problem := scale_problem(gt_size, lq_size, scale, training, shown(gt.path(i))):
            raise DataError(
                problem,
                where=f'{key}: {shown(lq.path(i))}',
                way_out=f'Correct `scale`, `{key}.dataroot_gt` or `{key}.dataroot_lq`, or replace the file.',
            )
    return len(gt)


def lr_sizes(opt: Mapping[str, Any], key: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and size (height, width) of each LR image of a dataset that :func:`check_paired_dataset` has accepted."""
    source = open_pair(opt, key)[1] if opt['type'] == 'PairedImageDataset' else open_single(opt, key)
    for i in range(len(source)):
        yield shown(source.path(i)), source.check(i)


def scale_problem(
    hr: tuple[int, int], lr: tuple[int, int], scale: int, training: bool, hr_name: str = ''
) -> str | None:
    """What is wrong with the sizes (height, width) of a pair, said of the LR image, or None.

    BasicSR's rule: training pairs fit exactly; in validation HR may be larger by less than `scale`, which is cut off.
    """
    slack = 0 if training else scale - 1
    expected = (lr[0] * scale, lr[1] * scale)
    if all(0 <= h - e <= slack for h, e in zip(hr, expected, strict=True)):
        return None
    named = f'{hr_name} ' if hr_name else ''
    sizes = f'is {lr[0]}x{lr[1]} pixels (height x width) and its HR image {named}{hr[0]}x{hr[1]}'
    if all(0 <= n - h * scale <= slack for h, n in zip(hr, lr, strict=True)):
        return f'{sizes}: HR and LR are swapped. Name each by what it is.'
    fitting = (s for s in range(1, 17) if s != scale and all(0 <= h - n * s < s for h, n in zip(hr, lr, strict=True)))
    other = next(fitting, None)
    hint = f' These two fit scale {other}.' if other else ''
    return f'{sizes}; at scale {scale} HR is expected to be {expected[0]}x{expected[1]}.{hint}'


def explain_unreadable(exc: BaseException, paths: Iterable[str]) -> PDDError | None:
    """Finds the file behind a failure to read a sample, of which `paths` are the files or LMDB keys.

    Returns:
        An error, caused by `exc`, that names the first file that cannot be decoded; None when all can.
    """
    for path in paths:
        if not is_image_name(str(path)) and not osp.exists(path):
            continue
        try:
            decoding.read_raw(path)
        except PDDError as error:
            error.__cause__ = exc
            return error
    return None


def lq_name(gt_path: str, template: str, key: str) -> str:
    """File name of the LR image of an HR image by ``filename_tmpl``. Raises OptionError where that cannot be used."""
    stem, extension = osp.splitext(osp.basename(gt_path))
    try:
        return f'{template.format(stem)}{extension}'
    except (LookupError, ValueError, AttributeError, TypeError):
        raise OptionError(
            where=f'{key}.filename_tmpl', expected='text with one pair of braces, as `{}x4`', found=repr(template)
        ) from None


def _check_normalisation(opt: Mapping[str, Any], key: str) -> None:
    """``mean`` and ``std`` come together, with a number for each channel."""
    channels = 1 if opt.get('color') == 'y' else 3
    for name, other in (('mean', 'std'), ('std', 'mean')):
        values = opt.get(name)
        if values is None and opt.get(other) is not None:
            raise OptionError(
                f'missing, but {other} is given', where=f'{key}.{name}', way_out=f'Add it, or remove {other}.'
            )
        if values is not None and (len(values) != channels or (name == 'std' and 0 in values)):
            numbers = f'a number for each channel ({channels}){", none of them 0" if name == "std" else ""}'
            raise OptionError(where=f'{key}.{name}', expected=numbers, found=show(values))


def _crop_size(opt: Mapping[str, Any], key: str, scale: int) -> int:
    size = opt.get('gt_size')
    if size is None:
        raise OptionError('missing', where=f'{key}.gt_size', expected='the side of the HR crop, as `gt_size: 128`')
    if size % scale:
        raise OptionError(
            f'{size} is not divisible by the scale {scale}',
            where=f'{key}.gt_size',
            way_out=f'Use {size // scale * scale or scale}.',
        )
    return int(size)


def _open(opt: Mapping[str, Any], side: str, section: str) -> ImageSource:
    """One side without a list.

    BasicSR leaves ``~`` in a path alone, reads an LMDB only where ``io_backend`` says so, and takes every file of a
    folder for an image.
    """
    root, key, backend = data_root(opt, side, section)
    if backend == 'lmdb':
        return LmdbSource(root, key)
    options = [name for name in opt['io_backend'] if name != 'type'] if opt.get('io_backend') else []
    if options:
        raise OptionError('is for type: lmdb only', where=f'{section}.io_backend.{options[0]}', way_out='Remove it.')
    require_folder(root, key)
    return FileSource(root, list_images(root, key, only_images=True), key)


def reads_names(opt: Mapping[str, Any], key: str) -> bool:
    """Whether a dataset reads what a list or an LMDB names, and not all files of a folder."""
    return opt.get('meta_info_file') is not None or data_root(opt, 'lq', key)[2] == 'lmdb'


class LmdbClient:
    """Reads from LMDBs for a dataset of BasicSR, whose own client keeps them open: none could be in two datasets."""

    def __init__(self, sources: Mapping[str, LmdbSource]) -> None:
        self.sources = sources

    def get(self, name: str, side: str) -> bytes:
        """The encoded image of ``lq`` or ``gt``. Raises DataError where there is none."""
        return self.sources[side].read_encoded(name)


def open_single(opt: Mapping[str, Any], key: str) -> ImageSource:
    """The images of a ``SingleImageDataset``. Raises as `check_paired_dataset`, opening no image."""
    meta = f'{key}.meta_info_file'
    if 'meta_info_file' not in opt:
        return _open(opt, 'lq', key)
    if not opt['meta_info_file']:
        raise OptionError('is empty, which SingleImageDataset cannot take', where=meta, way_out='Remove the line.')
    entries = read_list(opt['meta_info_file'], meta)
    return _pick(opt, 'lq', key, [(entry.name, entry.line) for entry in entries])


def open_pair(opt: Mapping[str, Any], key: str) -> tuple[ImageSource, ImageSource]:
    """HR and LR images of a ``PairedImageDataset``, in the same order. Raises as `check_paired_dataset`, opening none.

    The LR image of a line ``gt, lq`` of a list is the one that it names, of any other line by ``filename_tmpl``.
    """
    template = opt.get('filename_tmpl', '{}')
    if opt.get('meta_info_file'):
        entries = read_list(opt['meta_info_file'], f'{key}.meta_info_file')
        gt = _pick(opt, 'gt', key, [(entry.name, entry.line) for entry in entries])
        in_lmdb = isinstance(gt, LmdbSource)
        partners = [
            entry.lq or (name if in_lmdb else lq_name(name, template, key))
            for entry, name in zip(entries, gt.names, strict=True)
        ]
        return gt, _pick(opt, 'lq', key, [(name, entry.line) for name, entry in zip(partners, entries, strict=True)])
    gt, lq = _open(opt, 'gt', key), _open(opt, 'lq', key)
    if isinstance(gt, LmdbSource):
        for one, other in ((gt, lq), (lq, gt)):
            if lacking := sorted(set(one.names) - set(other.names)):
                raise DataError(
                    f'{len(lacking)} of the images in {one.root} are not in {other.root}, the first is {lacking[0]!r}',
                    where=key,
                    way_out='Make both LMDBs from the same names.',
                )
        gt.names = lq.names = sorted(gt.names)
        return gt, lq
    names = [lq_name(name, template, key) for name in gt.names]
    _require_pairs(gt, lq, names, template, key)
    return gt, FileSource(lq.root, names, lq.key)


def _pick(opt: Mapping[str, Any], side: str, section: str, names: Sequence[tuple[str, int]]) -> ImageSource:
    """Images of one side that the lines of ``meta_info_file`` name: (name, number of the line)."""
    root, root_key, backend = data_root(opt, side, section)
    listing, key = str(opt['meta_info_file']), f'{section}.meta_info_file'
    if backend == 'lmdb':
        return LmdbSource(root, root_key, [name for name, _ in names])
    require_folder(root, root_key)
    picked = [(below(root, name, listing, line, key), line) for name, line in names]
    require_images(root, picked, listing, key, f'`{section}.filename_tmpl`' if side == 'lq' else 'the path')
    return FileSource(root, [name for name, _ in picked], key)


def _require_pairs(gt: ImageSource, lq: ImageSource, names: Sequence[str], template: str, key: str) -> None:
    """Raises DataError unless each image has its partner; `names` are those that the LR images should have."""
    present = set(lq.names)
    for i, name in enumerate(names):
        if name not in present:
            stem = osp.splitext(name)[0]
            alike = [other for other in lq.names if osp.splitext(other)[0] == stem]
            hint = f' There is {shown(alike[0])}: both must have the same extension.' if alike else ''
            raise DataError(
                f'{shown(gt.path(i))} has no LR image: {shown(osp.join(lq.root, name))} does not exist.{hint}',
                where=key,
                way_out=f'Add or rename it, or set `{key}.filename_tmpl` (now {template!r}).',
            )
    if surplus := sorted(present - set(names)):
        raise DataError(
            f'{len(present)} LR images but {len(names)} GT images: {shown(osp.join(lq.root, surplus[0]))} has no '
            f'ground truth in {gt.root}',
            where=key,
            way_out='Add that, or remove it.',
        )


def _size(source: ImageSource, index: int) -> tuple[int, int]:
    try:
        if isinstance(source, FileSource):
            # validation sets are small: the checksums are worth reading all of the file
            return decoding.image_size(source.path(index), deep=True)
        return source.check(index)
    except PDDError as error:
        raise error.within(source.key, ': ') from error
