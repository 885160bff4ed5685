"""Tiny data in the places, layouts and lists that the option files of BasicSR and Real-ESRGAN name."""

import os
from pathlib import Path

from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from dataset_trees import reduced, scene, write

#: where the lists lie, beside BasicSR's source
LISTS = 'basicsr/data/meta_info'
#: of one clip of REDS, which its datasets take for granted
REDS_FRAMES = 100


def images(root: Path) -> None:
    """Writes the data sets of images and all lists below ``datasets/`` and ``basicsr/`` in a folder."""
    datasets = root / 'datasets'
    _div2k(datasets)
    _test_sets(datasets)
    _faces(datasets)
    _lists(root)


def videos(root: Path, side: int) -> None:
    """Writes clips of square GT frames below ``datasets/`` in a folder."""
    datasets = root / 'datasets'
    _reds(datasets, side)
    _vimeo90k(datasets, side)
    _vid4(datasets, side)


def _pair(hr: Path, lr: Path, number: int, side: int, scale: int) -> None:
    image = scene(number, (side, side))
    write(hr, image)
    write(lr, image if scale == 1 else reduced(image, scale))


def _div2k(datasets: Path) -> None:
    """Sub-images for training in folders and LMDBs; whole images for the test."""
    for number in (1, 2):
        name = f'{number:04d}_s001.png'
        for scale in (2, 3, 4):
            _pair(
                datasets / 'DIV2K/DIV2K_train_HR_sub' / name,
                datasets / f'DIV2K/DIV2K_train_LR_bicubic/X{scale}_sub' / name,
                number,
                144,
                scale,
            )
    df2k = datasets / 'DF2K'
    df2k.mkdir()
    os.symlink('../DIV2K/DIV2K_train_HR_sub', df2k / 'DIV2K_train_HR_sub')
    for scale in (2, 4):
        os.symlink(f'../DIV2K/DIV2K_train_LR_bicubic/X{scale}_sub', df2k / f'DIV2K_train_LR_bicubic_X{scale}_sub')
    for folder in ('DIV2K_train_HR_sub', 'DIV2K_train_LR_bicubic_X4_sub'):
        make_lmdb(df2k / folder, df2k / f'{folder}.lmdb')
    for scale in (2, 3, 4):
        _pair(
            datasets / 'DIV2K/DIV2K_valid_HR/0801.png',
            datasets / f'DIV2K/DIV2K_valid_LR_bicubic/X{scale}/0801x{scale}.png',
            801,
            48,
            scale,
        )


def make_lmdb(folder: Path, target: Path) -> None:
    """An LMDB of the images of a folder, made by BasicSR."""
    names = sorted(path.name for path in folder.iterdir())
    keys = [name.removesuffix('.png') for name in names]
    make_lmdb_from_imgs(str(folder), str(target), names, keys, map_size=2**24)


def _test_sets(datasets: Path) -> None:
    """Set5 and Set14 cropped to multiples of 12 by BasicSR's script, and the sets as the authors of EDSR pack them."""
    for name in ('Set5', 'Set14'):
        for scale in (2, 3, 4):
            hr, lr = datasets / name / 'GTmod12/baby.png', datasets / name / f'LRbicx{scale}/baby.png'
            _pair(hr, lr, 3, 204, scale)  # NIQE needs blocks of 96 pixels
    for name in ('Set5', 'Set14', 'B100', 'Urban100'):
        for scale in (2, 4):
            folder = datasets / 'benchmark' / name
            _pair(folder / 'HR/baby.png', folder / f'LR_bicubic/X{scale}/babyx{scale}.png', 4, 48, scale)


def _clip(folder: Path, names: list[str], number: int, side: int, scale: int, lr_folder: Path) -> None:
    """A clip whose frames are of four kinds; the others are links to these."""
    for position, name in enumerate(names):
        hr, lr = folder / name, lr_folder / name
        if position < 4:
            _pair(hr, lr, number + position, side, scale)
        else:
            for path in (hr, lr):
                if not path.exists():
                    os.link(path.with_name(names[position % 4]), path)


def _reds(datasets: Path, side: int) -> None:
    """A clip for training, one of those that REDS4 keeps for the test, and REDS4 in a folder of its own."""
    reds, frames = datasets / 'REDS', [f'{i:08d}.png' for i in range(REDS_FRAMES)]
    _clip(reds / 'train_sharp/001', frames, 20, side, 4, reds / 'train_sharp_bicubic/001')
    for lr, scale in (('sharp_bicubic', 4), ('blur_bicubic', 4), ('blur', 1), ('blur_comp', 1)):
        _clip(reds / 'train_sharp/000', frames[:5], 30, side, scale, reds / f'train_{lr}/000')
    reds4 = datasets / 'REDS4'
    _clip(reds4 / 'GT/000', frames[: 5 if side < 256 else 2], 40, side, 4, reds4 / 'sharp_bicubic/000')


def _vimeo90k(datasets: Path, side: int) -> None:
    """A septuplet, downsampled in three ways."""
    vimeo, frames = datasets / 'vimeo90k', [f'im{i}.png' for i in range(1, 8)]
    for lr in ('BDx4', 'BIx4', 'vimeo_septuplet_matlabLRx4/sequences'):
        _clip(vimeo / 'vimeo_septuplet/sequences/00001/0001', frames, 50, side, 4, vimeo / lr / '00001/0001')


def _vid4(datasets: Path, side: int) -> None:
    """A clip, downsampled in two ways, and enlarged again."""
    vid4, frames = datasets / 'Vid4', [f'{i:08d}.png' for i in range(7)]
    for lr, scale in (('BIx4', 4), ('BDx4', 4), ('BIx4up_direct', 1)):
        _clip(vid4 / 'GT/calendar', frames, 60, side, scale, vid4 / lr / 'calendar')


def _faces(datasets: Path) -> None:
    """FFHQ as an LMDB for StyleGAN2, and in folders with LQ images of the same size for HiFaceGAN."""
    for i in range(2):
        write(datasets / f'ffhq/ffhq_256/{i:08d}.png', scene(70 + i, (16, 16)))
    make_lmdb(datasets / 'ffhq/ffhq_256', datasets / 'ffhq/ffhq_256.lmdb')
    for gt, lq in (('FFHQ_512_gt', 'FFHQ_512_lq_sr4x'), ('FFHQ_512_gt_val', 'FFHQ_512_lq_val_sr4x')):
        _pair(datasets / gt / '00000000.png', datasets / lq / '00000000.png', 80, 64, 1)
    write(datasets / 'real-world-lq/face.png', scene(81, (64, 64)))


def _lists(root: Path) -> None:
    """BasicSR's lists of names and sizes, and Real-ESRGAN's."""
    names = [f'{number:04d}_s001.png' for number in (1, 2)]
    lists = {
        f'{LISTS}/meta_info_DIV2K800sub_GT.txt': [f'{name} (144,144,3)' for name in names],
        f'{LISTS}/meta_info_REDS_GT.txt': ['000 5 (720,1280,3)', f'001 {REDS_FRAMES} (720,1280,3)'],
        f'{LISTS}/meta_info_REDS4_test_GT.txt': ['000 5 (720,1280,3)'],
        f'{LISTS}/meta_info_Vimeo90K_train_GT.txt': ['00001/0001 7 (256,448,3)'],
        f'{LISTS}/meta_info_Vimeo90K_test_GT.txt': ['00001/0001 7 (256,448,3)'],
        'datasets/DF2K/meta_info/meta_info_DF2Kmultiscale+OST_sub.txt': [f'DIV2K_train_HR_sub/{n}' for n in names],
        'datasets/DF2K/meta_info/meta_info_DIV2K_sub_pair.txt': [
            f'DIV2K_train_HR_sub/{n}, DIV2K_train_LR_bicubic_X4_sub/{n}' for n in names
        ],
    }
    for path, lines in lists.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text('\n'.join(lines) + '\n')
