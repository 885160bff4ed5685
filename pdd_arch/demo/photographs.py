"""The demo's photographs: regions of those that come with scikit-image, and a camera that takes some of them.

The regions have three roles: HR photographs of the synthetic domain, photographs of which only a degraded LR version
is kept (the target domain), and held-out regions on which bicubic interpolation, the generalist and the adapted
network are compared. No pixel has two roles.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pdd_arch.degradations.operations import GaussianBlur, downsampled, jpeg_round_trip
from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images.decoding import read_raw
from pdd_arch.utils.atomic import write_json
from pdd_arch.utils.files import sha256_of

SCALE = 4
DATA_FOLDER = Path('datasets/pdd_demo')
MANIFEST = 'manifest.json'


@dataclass(frozen=True)
class Region:
    """Part of a photograph in HR pixels: columns `left` to `right`, rows `top` to `bottom`, ends excluded."""

    photo: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def name(self) -> str:
        """The name of the region's file, without suffix."""
        return f'{Path(self.photo).stem}_{self.left}_{self.top}'


HR_REGIONS = (
    Region('motorcycle_left.png', 0, 0, 324, 500),
    Region('coffee.png', 0, 264, 600, 400),
    Region('camera.png', 0, 0, 512, 512),
    Region('brick.png', 0, 0, 512, 512),
    Region('gravel.png', 0, 0, 512, 512),
    Region('coins.png', 0, 0, 384, 300),
    Region('ihc.png', 0, 0, 512, 512),
)
TARGET_REGIONS = (
    Region('astronaut.png', 0, 264, 512, 512),
    Region('rocket.jpg', 328, 0, 640, 424),
    Region('motorcycle_left.png', 332, 0, 740, 140),
    Region('grass.png', 0, 0, 512, 512),
    Region('hubble_deep_field.jpg', 0, 0, 512, 512),
)
# held-out regions, each with the detail (left, top, in HR pixels of the region) that the picture shows
TEST_REGIONS = {
    Region('chelsea.png', 60, 20, 380, 276): (56, 16),
    Region('motorcycle_left.png', 332, 150, 652, 406): (60, 0),
    Region('astronaut.png', 120, 0, 376, 256): (32, 40),
    Region('rocket.jpg', 0, 130, 320, 426): (60, 132),
    Region('coffee.png', 150, 0, 470, 256): (40, 60),
}


@dataclass(frozen=True)
class Camera:
    """The one fixed degradation of the target domain: blur, downsampling by 4, sensor noise, JPEG.

    The networks never see these numbers.
    """

    blur_sigma: float = 1.2  # standard deviation of the Gaussian lens blur in HR pixels
    full_well: float = 700.0  # electrons at white; shot noise at intensity v in [0, 1] has variance v / full_well
    read_noise: float = 2.5  # standard deviation of the additive noise, in 8-bit steps
    jpeg_quality: int = 85  # 0 to 100

    def photograph(self, scene: np.ndarray, seed: int) -> np.ndarray:
        """An LR photograph: (H, W, 3) uint8 BGR, sides multiples of 4 -> (H/4, W/4, 3); `seed` is that of the noise."""
        light = downsampled(GaussianBlur(self.blur_sigma, size=0)(scene.astype(np.float64) / 255, SCALE), SCALE)
        noise = np.random.default_rng(seed)
        signal = noise.poisson(light * self.full_well) / self.full_well
        signal = signal + noise.normal(0, self.read_noise / 255, signal.shape)
        pixels = np.clip(np.round(signal * 255), 0, 255).astype(np.uint8)
        return jpeg_round_trip(pixels, self.jpeg_quality)


CAMERA = Camera()


def _cut(region: Region) -> np.ndarray:
    """Part of one of scikit-image's bundled photographs, (H, W, 3) uint8 BGR."""
    way_out = "Reinstall it: pip install --force-reinstall 'scikit-image>=0.22'"
    with resources.as_file(resources.files('skimage') / 'data' / region.photo) as path:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if photo is None:
        raise MissingFileError(
            f'the demo needs the photograph {region.photo} that comes with scikit-image 0.22 or newer, and cannot read '
            f'{path}',
            way_out=way_out,
        )
    if photo.shape[0] < region.bottom or photo.shape[1] < region.right:
        raise DataError(
            f'is {photo.shape[1]}x{photo.shape[0]} pixels in the installed scikit-image; the demo cuts a region that '
            f'ends at {region.right}x{region.bottom}',
            where=region.photo,
            way_out=way_out,
        )
    return photo[region.top : region.bottom, region.left : region.right]


def demo_images(camera: Camera = CAMERA) -> dict[str, np.ndarray]:
    """All images of the demo: path below the data folder -> uint8 BGR. Equal in every call.

    Folders: `hr` (synthetic domain, HR), `target_lr` (target domain, LR only), `test_lr` and `test_hr`.

    Raises:
        MissingFileError: scikit-image is installed without its photographs.
        DataError: they have another size than expected.
    """
    images = {f'hr/{region.name}.png': _cut(region) for region in HR_REGIONS}
    for seed, region in enumerate(TARGET_REGIONS):
        images[f'target_lr/{region.name}.png'] = camera.photograph(_cut(region), seed)
    for seed, region in enumerate(TEST_REGIONS, start=len(TARGET_REGIONS)):
        scene = _cut(region)
        images[f'test_hr/{region.name}.png'] = scene
        images[f'test_lr/{region.name}.png'] = camera.photograph(scene, seed)
    return images


def _is_complete(folder: Path, recipe: dict[str, Any]) -> bool:
    """Whether the folder holds exactly what this recipe once wrote.

    Raises:
        DataError: the folder exists and was not made by the demo, so it must not be replaced.
    """
    if not folder.exists():
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        digests = dict(manifest['files'])
        made_here = manifest['recipe']['made_by'] == recipe['made_by']
    except (OSError, ValueError, KeyError, TypeError):
        made_here = False
    if not made_here:
        raise DataError(
            f'exists, but has no {MANIFEST} written by `pdd demo`, so it is left alone',
            where=str(folder),
            way_out='Move it away, or run the demo in another folder.',
        )
    return manifest['recipe'] == recipe and all(
        (folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in digests.items()
    )


def prepare_data(folder: Path = DATA_FOLDER, camera: Camera = CAMERA) -> bool:
    """Writes the demo's images below `folder`, unless a complete folder of an earlier run is there; whether it did.

    The folder appears under its name only when everything in it is written. One that was made by other regions or
    another camera is made anew.

    Raises:
        DataError: `folder` exists and was not made by the demo, or cannot be written.
        MissingFileError: scikit-image is installed without its photographs.
    """
    roles = {'hr': HR_REGIONS, 'target_lr': TARGET_REGIONS, 'test': tuple(TEST_REGIONS)}
    recipe = {
        'made_by': 'pdd demo',
        'camera': asdict(camera),
        'regions': {role: [asdict(region) for region in regions] for role, regions in roles.items()},
    }
    if _is_complete(folder, recipe):
        return False
    images = demo_images(camera)
    part = folder.with_name(f'.{os.getpid()}.part')  # short, whatever the folder is called
    try:
        digests = {}
        for name, image in images.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode('.png', image)[1].tobytes())
            digests[name] = sha256_of(path)
        write_json(part / MANIFEST, {'recipe': recipe, 'files': digests})
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as e:
        raise DataError(
            f'the photographs of the demo cannot be written ({e})',
            where=str(folder),
            way_out='Run it in a folder where you may write, with a few megabytes free.',
        ) from e
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def read_pairs(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The held-out pairs in the order of `TEST_REGIONS`: name -> (LR, HR), uint8 BGR."""
    names = [region.name for region in TEST_REGIONS]
    return {n: (read_raw(folder / f'test_lr/{n}.png'), read_raw(folder / f'test_hr/{n}.png')) for n in names}
