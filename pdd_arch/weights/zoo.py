"""Published generalists by name: ``path.pretrain_network_g: zoo:RealESRGAN_x4plus``.

The files are fetched from their authors' releases when they are first needed, and compared with the SHA-256 below.
The hashes were not computed from the files by this project: they are those that independent public sources, named with
each entry, state for the same address. A file that differs is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from pdd_arch.errors import MissingFileError
from pdd_arch.utils.wording import did_you_mean
from pdd_arch.weights.download import download

ZOO_PREFIX = 'zoo:'

_REAL_ESRGAN = 'https://github.com/xinntao/Real-ESRGAN/releases/download'
_KAIR = 'https://github.com/cszn/KAIR/releases/download/v1.0'
_SWINIR = 'https://github.com/JingyunLiang/SwinIR/releases/download/v0.0'
_DATABASE = 'Open Model Database'
_MIRRORS = 'mirrors on Hugging Face'


@dataclass(frozen=True)
class Generalist:
    """A published network."""

    url: str  # where its authors publish it
    sha256: str
    source: str  # who states the hash
    licence: str  # of its authors' repository
    scale: int = 4

    @property
    def file(self) -> Path:
        """Where the file belongs on this machine."""
        return Path(torch.hub.get_dir()) / 'pdd_arch' / self.url.rsplit('/', 1)[1]


ZOO: Mapping[str, Generalist] = {
    'RealESRGAN_x4plus': Generalist(
        url=f'{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth',
        sha256='4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1',
        source=f'{_DATABASE}, {_MIRRORS}, the package of Arch Linux',
        licence='BSD-3-Clause',
    ),
    'RealESRGAN_x2plus': Generalist(
        url=f'{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth',
        sha256='49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb',
        source='the package of Arch Linux, several projects on GitHub',
        licence='BSD-3-Clause',
        scale=2,
    ),
    'realesr-general-x4v3': Generalist(
        url=f'{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth',
        sha256='8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292',
        source=f'{_DATABASE}, {_MIRRORS}',
        licence='BSD-3-Clause',
    ),
    'BSRGAN': Generalist(
        url=f'{_KAIR}/BSRGAN.pth',
        sha256='5d505a0766160921e0388d76e1ddf08cb114303990f9080432bf2b1c988b1c54',
        source=f'{_DATABASE}, {_MIRRORS}',
        licence='Apache-2.0 (the repository of BSRGAN)',
    ),
    'BSRGANx2': Generalist(
        url=f'{_KAIR}/BSRGANx2.pth',
        sha256='614f68bcafcf123a1ea51cc75ae5741640a8b1d49dd75757ad3ad531f772c736',
        source=f'{_DATABASE} alone',
        licence='Apache-2.0 (the repository of BSRGAN)',
        scale=2,
    ),
    'ESRGAN': Generalist(
        url=f'{_REAL_ESRGAN}/v0.1.1/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth',
        sha256='ff704c30ff560305e48ed1f4db895e525ab6bc81a46fafe80c0094a271c806d9',
        source=f'its first digits are in the file name; {_MIRRORS}',
        licence='Apache-2.0 (the repository of ESRGAN)',
    ),
    'ESRGAN_old_names': Generalist(
        url=f'{_KAIR}/ESRGAN.pth',
        sha256='65fece06e1ccb48853242aa972bdf00ad07a7dd8938d2dcbdf4221b59f6372ce',
        source=f'{_MIRRORS}, two projects on GitHub',
        licence='Apache-2.0 (the repository of ESRGAN)',
    ),
    'SwinIR-M_real_x4': Generalist(
        url=f'{_SWINIR}/003_realSR_BSRGAN_DFO_s64w8_SwinIR-M_x4_GAN.pth',
        sha256='b9afb61e65e04eb7f8aba5095d070bbe9af28df76acd0c9405aeb33b814bcfc6',
        source='several projects on GitHub',
        licence='Apache-2.0',
    ),
    'SwinIR-L_real_x4': Generalist(
        url=f'{_SWINIR}/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth',
        sha256='99adfa91350a84c99e946c1eb3d8fce34bc28f57d807b09dc8fe40a316328c0a',
        source=_MIRRORS,
        licence='Apache-2.0',
    ),
}


def is_zoo(path: object) -> bool:
    """Whether a path of an option file names a published network."""
    return str(path).startswith(ZOO_PREFIX)


def is_address(path: str) -> bool:
    """Whether what should be a path is an address (``https://...``), from which nothing is downloaded."""
    return re.match(r'[a-z][a-z0-9+.-]*://', path, re.IGNORECASE) is not None


def instead_of(path: str) -> str:
    """The way out for a path or an address without a file, such as the ``zoo:NAME`` that is the same; may be empty."""
    file = path.rpartition('/')[2]
    name = next((n for n, entry in ZOO.items() if file in (n, f'{n}.pth', entry.url.rpartition('/')[2])), None)
    if name is not None:
        return f'Give {ZOO_PREFIX}{name}, which is downloaded and verified.'
    return 'Download the file, and give its path.' if is_address(path) else ''


def generalist(path: str, where: str = 'weights') -> Generalist:
    """The entry that ``zoo:NAME`` stands for; MissingFileError where there is none of that name."""
    name = str(path).removeprefix(ZOO_PREFIX)
    if name not in ZOO:
        raise MissingFileError(
            f'{ZOO_PREFIX}{name} is not known',
            where=where,
            way_out=f'{did_you_mean(name, ZOO)} Known: {", ".join(ZOO)}'.strip(),
        )
    return ZOO[name]


def fetch(path: str, where: str = 'weights') -> Path:
    """The file of ``zoo:NAME``, see :func:`pdd_arch.weights.download.download`."""
    entry = generalist(path, where)
    return download(entry.url, entry.file, entry.sha256, where)
