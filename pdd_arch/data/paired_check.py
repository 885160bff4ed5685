"""Looking over the data of BasicSR's own datasets before they are built.

``PairedImageDataset`` and ``SingleImageDataset`` treat every file in a folder as an image, accept pairs of a
wrong scale, and fail on a broken file without its name. The commands call :func:`check_paired_dataset` first,
and :func:`explain_unreadable` when one of them fails in the middle of a run.
"""

from collections.abc import Iterable, Mapping
from os import path as osp

from basicsr.utils import scandir

from pdd_arch.data.meta_info import names_below, parse_meta_info
from pdd_arch.data.sources import FileSource, ImageSource, LmdbSource, check_io_backend, list_images, require_folder
from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError
from pdd_arch.images import decoding
from pdd_arch.images.names import is_image_name
from pdd_arch.utils.wording import shown

__all__ = ['check_paired_dataset', 'explain_unreadable']


def check_paired_dataset(opt: Mapping, key: str) -> int:
    """Checks what a ``PairedImageDataset`` or ``SingleImageDataset`` is going to read.

    For each pair GT must be `scale` times as large as LR. Outside training GT may be up to scale - 1 pixels
    larger, which BasicSR cuts off (benchmark sets whose sizes are not divisible by the scale).

    Args:
        opt: options of the dataset, with ``scale``; not changed.
        key: its place in the option file, e.g. ``datasets.val``.

    Returns:
        Number of images (or pairs); 0 for a dataset of another type, which is not looked at.

    Raises:
        OptionError: a key is missing or the backend is unknown.
        MissingFileError: a folder, meta-info file or listed image does not exist.
        DataError: no image, a file that is no image, a broken image, an LR without its GT or of the wrong
            size.
    """
    kind = str(opt.get('type'))
    if kind not in ('PairedImageDataset', 'SingleImageDataset'):
        return 0
    if not opt.get('io_backend'):
        raise OptionError(f'`{key}.io_backend` is missing; write `io_backend: {{type: disk}}`, as BasicSR expects.')
    is_lmdb = check_io_backend(opt['io_backend'], f'{key}.io_backend') == 'lmdb'
    if kind == 'SingleImageDataset':
        source = _open_single(opt, key, is_lmdb)
        for i in range(len(source)):
            _size(source, i)
        return len(source)

    scale = opt.get('scale')
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise OptionError(f'the scale of `{key}` is {scale!r}; expected a positive whole number (`scale: 4`).')
    gt, lq = _open_lmdb_pair(opt, key) if is_lmdb else _open_file_pair(opt, key)
    slack = 0 if opt.get('phase') == 'train' else scale - 1
    for i in range(len(gt)):
        lq_height, lq_width = _size(lq, i)
        gt_height, gt_width = _size(gt, i)
        expected = (lq_height * scale, lq_width * scale)
        if not (0 <= gt_height - expected[0] <= slack and 0 <= gt_width - expected[1] <= slack):
            hint = _scale_hint((gt_height, gt_width), (lq_height, lq_width), scale)
            raise DataError(
                f'`{key}`: {shown(gt.path(i))} is {gt_height}x{gt_width} pixels (height x width) but '
                f'{shown(lq.path(i))} is {lq_height}x{lq_width}: at scale {scale} the ground truth is expected to be '
                f'{expected[0]}x{expected[1]}.{hint} Correct `scale`, `{key}.dataroot_gt` or '
                f'`{key}.dataroot_lq`, or replace the file.'
            )
    return len(gt)


def explain_unreadable(exc: BaseException, paths: Iterable[str]) -> PDDError | None:
    """Finds the file behind a failure that does not name one.

    Args:
        exc: what was raised while a sample was read; it becomes the cause of the result.
        paths: the files the sample is made of. LMDB keys, which are no paths, are passed over.

    Returns:
        An error that names the first file that cannot be decoded, or None when all can.
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


def _root(opt: Mapping, key: str, side: str) -> tuple[str, str]:
    root, root_key = opt.get(f'dataroot_{side}'), f'{key}.dataroot_{side}'
    if not root:
        raise OptionError(f'`{root_key}` is missing; expected a folder of images or an LMDB.')
    return require_folder(str(root), root_key), root_key


def _open_lmdb(opt: Mapping, key: str, side: str) -> LmdbSource:
    root, root_key = _root(opt, key, side)
    if not root.endswith('.lmdb'):
        raise OptionError(
            f"`{key}.io_backend.type` is 'lmdb' but `{root_key}` is {root}, which does not end in .lmdb. "
            "Name an LMDB, or use type 'disk'."
        )
    return LmdbSource(root, root_key)


def _open_single(opt: Mapping, key: str, is_lmdb: bool) -> ImageSource:
    if is_lmdb:
        return _open_lmdb(opt, key, 'lq')
    root, root_key = _root(opt, key, 'lq')
    if 'meta_info_file' in opt:
        meta_key = f'{key}.meta_info_file'
        if not opt['meta_info_file']:
            raise OptionError(f'`{meta_key}` is empty, which SingleImageDataset cannot take. Remove the line.')
        return FileSource(root, _listed(root, opt['meta_info_file'], meta_key), meta_key)
    return FileSource(root, _all_files(root, root_key), root_key)


def _open_lmdb_pair(opt: Mapping, key: str) -> tuple[ImageSource, ImageSource]:
    gt, lq = _open_lmdb(opt, key, 'gt'), _open_lmdb(opt, key, 'lq')
    for one, other in ((gt, lq), (lq, gt)):
        lacking = sorted(set(one.names) - set(other.names))
        if lacking:
            raise DataError(
                f'`{key}`: {len(lacking)} of the images in {one.root} are not in {other.root}, the first is '
                f'{lacking[0]!r}. Make both LMDBs from the same names.'
            )
    return gt, LmdbSource(lq.root, lq.key, gt.names)


def _open_file_pair(opt: Mapping, key: str) -> tuple[ImageSource, ImageSource]:
    gt_root, gt_key = _root(opt, key, 'gt')
    lq_root, lq_key = _root(opt, key, 'lq')
    template = opt.get('filename_tmpl', '{}')
    meta = opt.get('meta_info_file')
    if meta:
        gt_names = _listed(gt_root, meta, f'{key}.meta_info_file')
        names = [_lq_name(name, template, key) for name in gt_names]
    else:
        gt_names = _all_files(gt_root, gt_key)
        lq_names = _all_files(lq_root, lq_key)
        names = [_lq_name(name, template, key) for name in gt_names]
        present = set(lq_names)
        for gt_name, name in zip(gt_names, names, strict=True):
            if name not in present:
                stem = osp.splitext(name)[0]
                alike = [other for other in lq_names if osp.splitext(other)[0] == stem]
                hint = f' There is {shown(alike[0])}: both must have the same extension.' if alike else ''
                raise DataError(
                    f'`{key}`: {shown(osp.join(gt_root, gt_name))} has no LR image: '
                    f'{shown(osp.join(lq_root, name))} does not exist.{hint} Add or rename it, or set '
                    f'`{key}.filename_tmpl` (now {template!r}).'
                )
        surplus = sorted(present - set(names))
        if surplus:
            raise DataError(
                f'`{key}`: {len(lq_names)} LR images but {len(gt_names)} GT images: '
                f'{shown(osp.join(lq_root, surplus[0]))} has no ground truth in {gt_root}. Add that, or remove it.'
            )
    return FileSource(gt_root, gt_names, gt_key), FileSource(lq_root, names, lq_key)


def _lq_name(gt_path: str, template: str, key: str) -> str:
    stem, extension = osp.splitext(osp.basename(gt_path))
    try:
        return f'{template.format(stem)}{extension}'
    except (LookupError, ValueError, AttributeError, TypeError):
        raise OptionError(
            f'`{key}.filename_tmpl` is {template!r}; expected text with one pair of braces, as `{{}}x4`.'
        ) from None


def _listed(root: str, meta: str, key: str) -> list[str]:
    names = names_below([name for name, _ in parse_meta_info(meta, key)], root, meta, key)
    for path in (osp.join(root, name) for name in names):
        if not osp.isfile(path):
            raise MissingFileError(
                f'`{key}`: {shown(meta)} lists {shown(path)}, which does not exist. Correct the list or the path.'
            )
    return names


def _all_files(folder: str, key: str) -> list[str]:
    """Names in a folder as BasicSR sees them; raises unless all are images."""
    list_images(folder, key)  # its error says what is there instead of images
    names = sorted(scandir(folder))
    for name in names:
        if not is_image_name(name):
            raise DataError(
                f'`{key}`: {shown(osp.join(folder, name))} is not an image, and BasicSR reads every file of the '
                'folder as one. Remove it or move it elsewhere.'
            )
    return names


def _size(source: ImageSource, index: int) -> tuple[int, int]:
    try:
        if isinstance(source, FileSource):
            # validation sets are small: the checksums are worth reading all of the file
            return decoding.check_image_file(source.path(index), deep=True)
        return source.check(index)
    except PDDError as error:
        raise type(error)(f'`{source.key}`: {error}') from error


def _scale_hint(gt: tuple[int, int], lq: tuple[int, int], scale: int) -> str:
    """Names the scale that would fit, when there is one."""
    for other in range(1, 17):
        if other != scale and all(0 <= g - n * other < other for g, n in zip(gt, lq, strict=True)):
            return f' These two fit scale {other}.'
    return ''
