"""Checks of BasicSR's ``PairedImageDataset`` and ``SingleImageDataset``.

They treat every file in a folder as an image, accept pairs of a wrong scale, and do not name a broken file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import path as osp
from typing import Any

from pdd_arch.data.meta_info import listed_names
from pdd_arch.data.sources import FileSource, ImageSource, LmdbSource, data_root, list_images, require_folder
from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError
from pdd_arch.images import decoding
from pdd_arch.images.names import is_image_name
from pdd_arch.utils.wording import shown


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
    if kind == 'SingleImageDataset':
        source = _open_single(opt, key)
        for i in range(len(source)):
            _size(source, i)
        return len(source)

    scale = opt.get('scale')
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise OptionError(where=f'{key}.scale', expected='a positive whole number (`scale: 4`)', found=repr(scale))
    gt, lq = _open_pair(opt, key)
    for i in range(len(gt)):
        lq_size, gt_size = _size(lq, i), _size(gt, i)
        if problem := scale_problem(gt_size, lq_size, scale, opt.get('phase') == 'train', shown(gt.path(i))):
            raise DataError(
                problem,
                where=f'{key}: {shown(lq.path(i))}',
                way_out=f'Correct `scale`, `{key}.dataroot_gt` or `{key}.dataroot_lq`, or replace the file.',
            )
    return len(gt)


def lr_sizes(opt: Mapping[str, Any], key: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and size (height, width) of each LR image of a dataset that :func:`check_paired_dataset` has accepted."""
    source = _open_pair(opt, key)[1] if opt['type'] == 'PairedImageDataset' else _open_single(opt, key)
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


def _open(opt: Mapping[str, Any], side: str, section: str, meta: str | None = None) -> ImageSource:
    """One side as BasicSR's own datasets read it; `meta`: the option that names a list of images.

    They leave ``~`` in a path alone, read an LMDB only where ``io_backend`` says so and then know no list, and take
    every file of a folder for an image.
    """
    root, key, backend = data_root(opt, side, section)
    if backend == 'lmdb':
        return LmdbSource(root, key)
    require_folder(root, key)
    if not meta:
        return FileSource(root, list_images(root, key, only_images=True), key)
    source = FileSource(root, listed_names(opt[meta], root, f'{section}.{meta}'), f'{section}.{meta}')
    for path in map(source.path, range(len(source))):
        if not osp.isfile(path):
            what = f'{shown(opt[meta])} lists {shown(path)}, which does not exist'
            raise MissingFileError(what, where=source.key, way_out='Correct the list or the path.')
    return source


def _open_single(opt: Mapping[str, Any], key: str) -> ImageSource:
    meta = 'meta_info_file' if 'meta_info_file' in opt and data_root(opt, 'lq', key)[2] == 'disk' else None
    if meta and not opt[meta]:
        raise OptionError(
            'is empty, which SingleImageDataset cannot take', where=f'{key}.{meta}', way_out='Remove the line.'
        )
    return _open(opt, 'lq', key, meta)


def _open_pair(opt: Mapping[str, Any], key: str) -> tuple[ImageSource, ImageSource]:
    meta = 'meta_info_file' if opt.get('meta_info_file') else None
    gt = _open(opt, 'gt', key, meta)
    if isinstance(gt, LmdbSource):
        lq = _open(opt, 'lq', key)
        for one, other in ((gt, lq), (lq, gt)):
            if lacking := sorted(set(one.names) - set(other.names)):
                raise DataError(
                    f'{len(lacking)} of the images in {one.root} are not in {other.root}, the first is {lacking[0]!r}',
                    where=key,
                    way_out='Make both LMDBs from the same names.',
                )
        return gt, LmdbSource(lq.root, lq.key, gt.names)
    template = opt.get('filename_tmpl', '{}')
    names = [lq_name(name, template, key) for name in gt.names]
    if meta:  # then other files in the LR folder do not matter
        root, root_key, _ = data_root(opt, 'lq', key)
        require_folder(root, root_key)
        return gt, FileSource(root, names, root_key)
    lq = _open(opt, 'lq', key)
    _require_pairs(gt, lq, names, template, key)
    return gt, FileSource(lq.root, names, lq.key)


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
