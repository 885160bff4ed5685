"""`pdd demo`: adapts a small blind-SR network to a camera it has not seen, offline, on the CPU, in minutes.

The photographs are those that come with scikit-image. They are cut into regions with three roles: HR
photographs of the synthetic domain, photographs of which only a degraded LR version is kept (the target
domain), and held-out regions on which bicubic interpolation, the generalist and the adapted network are
compared. No pixel has two roles.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from pdd_arch.checkpoints import check_fits, read_checkpoint, state_dict_of
from pdd_arch.config.parse import load_options
from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.utils.resources import option_file

SCALE = 4
OPTION_FILE = 'pdd_demo.yml'
DATA_FOLDER = Path('datasets/pdd_demo')
EXPERIMENT_FOLDER = Path('experiments/pdd_demo')
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
        """File name of the region, without suffix."""
        return f'{Path(self.photo).stem}_{self.left}_{self.top}'

    def overlaps(self, other: 'Region') -> bool:
        """Whether a pixel of the photograph belongs to both regions."""
        apart = (
            self.photo != other.photo
            or self.right <= other.left
            or other.right <= self.left
            or self.bottom <= other.top
            or other.bottom <= self.top
        )
        return not apart


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
    Region('rocket.jpg', 0, 130, 320, 426): (0, 8),
    Region('coffee.png', 150, 0, 470, 256): (40, 60),
}


@dataclass(frozen=True)
class Camera:
    """The one fixed degradation of the target domain. The networks never see these numbers.

    Attributes:
        blur_sigma: standard deviation of the Gaussian lens blur in HR pixels.
        full_well: electrons at white; shot noise at intensity v in [0, 1] has variance v / full_well.
        read_noise: standard deviation of the additive noise, in 8-bit steps.
        jpeg_quality: 0 to 100.
    """

    blur_sigma: float = 1.2
    full_well: float = 500.0
    read_noise: float = 3.0
    jpeg_quality: int = 80

    def photograph(self, scene: np.ndarray, seed: int) -> np.ndarray:
        """Takes an LR photograph: blur, reduction by 4, sensor noise, JPEG.

        Args:
            scene: (H, W, 3) uint8 BGR, H and W multiples of 4.
            seed: of the noise.

        Returns:
            (H/4, W/4, 3) uint8 BGR.
        """
        height, width = scene.shape[:2]
        light = cv2.GaussianBlur(scene.astype(np.float64) / 255, (0, 0), self.blur_sigma)
        light = cv2.resize(light, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
        noise = np.random.default_rng(seed)
        signal = noise.poisson(light * self.full_well) / self.full_well
        signal = signal + noise.normal(0, self.read_noise / 255, signal.shape)
        pixels = np.clip(np.round(signal * 255), 0, 255).astype(np.uint8)
        _, stored = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        return cv2.imdecode(stored, cv2.IMREAD_COLOR)


def _read_photo(name: str) -> np.ndarray:
    """One of scikit-image's bundled photographs, (H, W, 3) uint8 BGR."""
    with resources.as_file(resources.files('skimage') / 'data' / name) as path:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if photo is None:
        raise MissingFileError(
            f'The demo needs the photograph {name} that comes with scikit-image 0.22 or newer, and cannot '
            f"read {path}. Reinstall it: pip install --force-reinstall 'scikit-image>=0.22'"
        )
    return photo


def _cut(region: Region) -> np.ndarray:
    photo = _read_photo(region.photo)
    if photo.shape[0] < region.bottom or photo.shape[1] < region.right:
        raise DataError(
            f'{region.photo} of the installed scikit-image is {photo.shape[1]}x{photo.shape[0]} pixels; the '
            f"demo cuts a region that ends at {region.right}x{region.bottom}. Use 'scikit-image>=0.22'"
        )
    return photo[region.top : region.bottom, region.left : region.right]


def demo_images(camera: Camera | None = None) -> dict[str, np.ndarray]:
    """All images of the demo: path below the data folder -> uint8 BGR. Equal in every call.

    Folders: `hr` (synthetic domain, HR), `target_lr` (target domain, LR only), `test_lr` and `test_hr`.

    Raises:
        MissingFileError: scikit-image is installed without its photographs.
        DataError: they have another size than expected.
    """
    camera = camera or Camera()
    images = {f'hr/{region.name}.png': _cut(region) for region in HR_REGIONS}
    for seed, region in enumerate(TARGET_REGIONS):
        images[f'target_lr/{region.name}.png'] = camera.photograph(_cut(region), seed)
    for seed, region in enumerate(TEST_REGIONS, start=len(TARGET_REGIONS)):
        scene = _cut(region)
        images[f'test_hr/{region.name}.png'] = scene
        images[f'test_lr/{region.name}.png'] = camera.photograph(scene, seed)
    return images


def _recipe(camera: Camera) -> dict:
    """What determines the data; a folder made from another recipe is made anew."""
    roles = {'hr': HR_REGIONS, 'target_lr': TARGET_REGIONS, 'test': tuple(TEST_REGIONS)}
    return {
        'made_by': 'pdd demo',
        'camera': asdict(camera),
        'regions': {role: [asdict(region) for region in regions] for role, regions in roles.items()},
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_complete(folder: Path, recipe: dict) -> bool:
    """Whether the folder holds exactly what this recipe once wrote.

    Raises:
        DataError: the folder exists and was not made by the demo, so it must not be replaced.
    """
    if not folder.exists():
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        made_here = manifest['recipe']['made_by'] == recipe['made_by']
    except (OSError, ValueError, KeyError, TypeError):
        made_here = False
    if not made_here:
        raise DataError(
            f'{folder} exists, but has no {MANIFEST} written by `pdd demo`, so it is left alone. Move it '
            'away, or run the demo in another folder.'
        )
    return manifest['recipe'] == recipe and all(
        (folder / name).is_file() and _sha256(folder / name) == digest
        for name, digest in manifest.get('files', {}).items()
    )


def prepare_data(folder: Path = DATA_FOLDER, camera: Camera | None = None) -> bool:
    """Writes the demo's images below `folder`; a complete folder of an earlier run is used again.

    The folder appears under its name only when everything in it is written.

    Returns:
        True if the images were written, False if they were there.

    Raises:
        DataError: `folder` exists and was not made by the demo.
        MissingFileError: scikit-image is installed without its photographs.
    """
    camera = camera or Camera()
    folder = Path(folder)
    recipe = _recipe(camera)
    if _is_complete(folder, recipe):
        return False
    part = folder.with_name(f'.{folder.name}.{os.getpid()}.part')
    try:
        digests = {}
        for name, image in demo_images(camera).items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode('.png', image)[1].tobytes())
            digests[name] = _sha256(path)
        text = json.dumps({'recipe': recipe, 'files': digests}, indent=1)
        (part / MANIFEST).write_text(text + '\n', encoding='utf-8')
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


@dataclass(frozen=True)
class Measure:
    """A column of the table: how it is computed from two (H, W, 3) uint8 BGR images and how it is printed."""

    name: str
    better: str
    compute: Callable[[np.ndarray, np.ndarray], float]
    decimals: int


def _without_border(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 BGR -> (1, 3, H-8, W-8) RGB in [0, 1]."""
    inner = np.ascontiguousarray(image[SCALE:-SCALE, SCALE:-SCALE, ::-1].transpose(2, 0, 1))
    return torch.from_numpy(inner).unsqueeze(0).float() / 255


def _psnr(output: np.ndarray, truth: np.ndarray) -> float:
    from basicsr.metrics import calculate_psnr

    return float(calculate_psnr(output, truth, crop_border=SCALE))


def _ssim(output: np.ndarray, truth: np.ndarray) -> float:
    from basicsr.metrics import calculate_ssim

    return float(calculate_ssim(output, truth, crop_border=SCALE))


def _haarpsi_distance(output: np.ndarray, truth: np.ndarray) -> float:
    import piq

    return 1 - float(piq.haarpsi(_without_border(output), _without_border(truth)))


def _gmsd(output: np.ndarray, truth: np.ndarray) -> float:
    import piq

    return float(piq.gmsd(_without_border(output), _without_border(truth)))


MEASURES = (
    Measure('PSNR', 'higher', _psnr, 2),
    Measure('SSIM', 'higher', _ssim, 4),
    Measure('1-HaarPSI', 'lower', _haarpsi_distance, 4),
    Measure('GMSD', 'lower', _gmsd, 4),
)
METHODS = ('bicubic', 'generalist', 'adapted')
FOOTNOTE = (
    'PSNR (dB) and SSIM: RGB, 4 border pixels left out. 1-HaarPSI (Reisenhofer et al., 2018) and GMSD\n'
    '(Xue et al., 2014), both from the package piq, are perceptual distances that need no trained network:\n'
    'LPIPS would need weights, and the demo downloads nothing.'
)


def evaluate(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    methods: dict[str, Callable[[np.ndarray], np.ndarray]],
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, list[float]]]]:
    """Applies each method to each LR image and measures the result.

    Args:
        pairs: image name -> (LR, HR), uint8 BGR, HR four times the size.
        methods: method name -> function from an LR image to an image of HR size, uint8 BGR.

    Returns:
        Outputs (method -> image name -> image) and scores (method -> image name -> one value for each of
        `MEASURES`).
    """
    outputs = {method: {name: enlarge(lr) for name, (lr, _) in pairs.items()} for method, enlarge in methods.items()}
    scores = {
        method: {
            name: [measure.compute(output, pairs[name][1]) for measure in MEASURES] for name, output in images.items()
        }
        for method, images in outputs.items()
    }
    return outputs, scores


def mean_scores(scores: dict[str, list[float]]) -> list[float]:
    """Mean over the images, one value for each of `MEASURES`."""
    return [float(np.mean(column)) for column in zip(*scores.values(), strict=True)]


def format_table(scores: dict[str, dict[str, list[float]]]) -> str:
    """The table of means that ends the demo, a line a method, with arrows that say which way is better."""
    heads = [f'{m.name} {"↑" if m.better == "higher" else "↓"}' for m in MEASURES]
    rows = [['mean over held-out images', *heads]]
    for method, images in scores.items():
        means = mean_scores(images)
        rows.append([method, *(f'{v:.{m.decimals}f}' for v, m in zip(means, MEASURES, strict=True))])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        '  '.join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(1, '-' * len(lines[0]))
    return '\n'.join(lines)


def write_csv(path: Path, scores: dict[str, dict[str, list[float]]]) -> None:
    """One line an image and method, then the means (image `mean`)."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['method', 'image', *(m.name for m in MEASURES)])
        for method, images in scores.items():
            for name, values in [*images.items(), ('mean', mean_scores(images))]:
                writer.writerow([method, name, *(f'{v:.6f}' for v in values)])


def _enlarge_bicubic(lr: np.ndarray) -> np.ndarray:
    return cv2.resize(lr, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)


def _network_enlarger(network: dict, weights: str | Path, param_key: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from LR to HR images (uint8 BGR) out of a `network_g` section and a weight file."""
    from basicsr.archs.srvgg_arch import SRVGGNetCompact
    from basicsr.utils import img2tensor, tensor2img

    net = SRVGGNetCompact(**{key: value for key, value in network.items() if key != 'type'})
    state = state_dict_of(read_checkpoint(weights), param_key, weights, 'weights')
    check_fits(net, state, weights, 'weights')
    net.load_state_dict(state)
    net.eval()

    def enlarge(lr: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return tensor2img(net(img2tensor(lr / 255.0).unsqueeze(0)))

    return enlarge


def _read_pairs(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The held-out pairs in the order of `TEST_REGIONS`: name -> (LR, HR)."""
    names = [region.name for region in TEST_REGIONS]
    return {
        name: tuple(cv2.imread(str(folder / part / f'{name}.png')) for part in ('test_lr', 'test_hr')) for name in names
    }


# layout of the comparison picture, in its pixels
DETAIL = 160  # side of the part of a photograph that is shown, HR pixels
ZOOM = 2
GAP = 16
MARGIN = 40
HEADER = 132
CAPTION = 34
PAPER, INK, FAINT, MARK = (255, 255, 255), (28, 28, 30), (120, 120, 126), (0, 122, 92)


def _rgb(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))


def comparison_picture(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    outputs: dict[str, dict[str, np.ndarray]],
    scores: dict[str, dict[str, list[float]]],
    details: dict[str, tuple[int, int]],
    subtitle: str,
) -> Image.Image:
    """A page of details: a row for each image, columns LR input, generalist, adapted network, photograph.

    Args:
        pairs: name -> (LR, HR), uint8 BGR.
        outputs, scores: of `evaluate`.
        details: name -> left and top of the detail, HR pixels, multiples of 4.
        subtitle: the line below the title.
    """
    title_font, label_font, text_font = (ImageFont.load_default(size) for size in (34, 21, 18))
    side = DETAIL * ZOOM
    heads = ('LR input of the unknown camera', 'Generalist', 'Adapted', 'Ground truth (never seen)')
    width = 2 * MARGIN + len(heads) * side + (len(heads) - 1) * GAP
    height = MARGIN + HEADER + len(pairs) * (side + CAPTION + GAP) + MARGIN // 2
    page = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 6), 'Adapting a super-resolution network to one camera (x4)', INK, title_font)
    draw.text((MARGIN, MARGIN + 42), subtitle, FAINT, text_font)
    lefts = [MARGIN + i * (side + GAP) for i in range(len(heads))]
    for left, head in zip(lefts, heads, strict=True):
        draw.text((left, MARGIN + HEADER - 12), head, MARK if head == 'Adapted' else INK, label_font, 'ls')

    for row, (name, (lr, hr)) in enumerate(pairs.items()):
        top = MARGIN + HEADER + row * (side + CAPTION + GAP)
        x, y = details[name]
        small = lr[y // SCALE : (y + DETAIL) // SCALE, x // SCALE : (x + DETAIL) // SCALE]
        cells = [_rgb(small).resize((side, side), Image.Resampling.NEAREST)]
        for image in (outputs['generalist'][name], outputs['adapted'][name], hr):
            cell = _rgb(image[y : y + DETAIL, x : x + DETAIL])
            cells.append(cell.resize((side, side), Image.Resampling.BICUBIC))
        psnr = {method: images[name][0] for method, images in scores.items()}
        gain = psnr['adapted'] - psnr['generalist']
        captions = (
            f'bicubic: {psnr["bicubic"]:.2f} dB',
            f'{psnr["generalist"]:.2f} dB',
            f'{psnr["adapted"]:.2f} dB  ({gain:+.2f})',
            'PSNR of the whole image',
        )
        for column, (left, cell, caption) in enumerate(zip(lefts, cells, captions, strict=True)):
            page.paste(cell, (left, top))
            color = (FAINT, INK, MARK, FAINT)[column]
            draw.text((left, top + side + 24), caption, color, text_font, 'ls')
    return page


def say(text: str = '') -> None:
    """Writes a line of the demo's own report to standard output."""
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def _step(number: int, text: str) -> None:
    say(f'\n[{number}/4] {text}')


def run(args: argparse.Namespace) -> int:
    """Data, adaptation, evaluation, picture and table. Returns the exit status 0; errors are raised."""
    from pdd_arch.commands import basicsr_cli

    started = time.monotonic()
    _step(1, f'Photographs: {DATA_FOLDER}/')
    made = prepare_data()
    counts = (len(HR_REGIONS), len(TARGET_REGIONS), len(TEST_REGIONS))
    say(
        'HR photographs: {}; LR photographs of the unknown camera: {}; held-out pairs: {}'.format(*counts)
        + ('' if made else ' (of an earlier run)')
    )

    path = option_file(OPTION_FILE)
    options = load_options(path)
    overrides = [] if args.iterations is None else [f'train:total_iter={args.iterations}']
    iterations = args.iterations or options['train']['total_iter']
    _step(2, f'Adapting the generalist for {iterations} iterations: basicsr train -opt {path}')
    basicsr_cli.main(['train', '-opt', str(path), *(['--force_yml', *overrides] if overrides else [])])

    _step(3, 'Enlarging the held-out photographs')
    network, pretrained = options['network_g'], options['path']
    generalist = (pretrained['pretrain_network_g'], pretrained['param_key_g'])
    pairs = _read_pairs(DATA_FOLDER)
    methods = {
        'bicubic': _enlarge_bicubic,
        'generalist': _network_enlarger(network, *generalist),
        'adapted': _network_enlarger(network, EXPERIMENT_FOLDER / 'models/net_g_latest.pth', 'params_ema'),
    }
    outputs, scores = evaluate(pairs, methods)

    _step(4, 'Comparison picture')
    details = {region.name: corner for region, corner in TEST_REGIONS.items()}
    subtitle = (
        f'{iterations} iterations of pairwise distance distillation on the CPU, from {len(TARGET_REGIONS)} '
        'LR photographs without ground truth.\n'
        'All images are held out: neither network was trained on them.'
    )
    picture = EXPERIMENT_FOLDER / 'comparison.png'
    comparison_picture(pairs, outputs, scores, details, subtitle).save(picture)
    table = EXPERIMENT_FOLDER / 'comparison.csv'
    write_csv(table, scores)

    say('\n' + format_table(scores) + '\n\n' + FOOTNOTE)
    say(f'\nPicture: {picture}\nPer image: {table}\nWeights: {EXPERIMENT_FOLDER / "models/net_g_latest.pth"}')
    say(f'Finished in {time.monotonic() - started:.0f} s.')
    return 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `demo` with the `pdd` command."""
    text = 'adapt a small network to a camera it has not seen: offline, on the CPU, a few minutes'
    parser = subparsers.add_parser(
        'demo',
        help=text,
        description=f'{text[0].upper()}{text[1:]}. Uses the photographs that come with scikit-image. Writes '
        f'{DATA_FOLDER}/ and {EXPERIMENT_FOLDER}/ below the current directory, and ends with a table and a '
        'picture of held-out photographs. An earlier experiments/pdd_demo/ is kept under another name.',
        epilog='example: pdd demo',
    )
    parser.add_argument(
        '--iterations',
        type=_positive,
        metavar='N',
        help=f'iterations of adaptation (default: as in {OPTION_FILE})',
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number of at least 1, found {text!r}')
    return value
