"""What an adaptation shows: a preview, a statement, a page with before and after, a table of checkpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pdd_arch.adaptation.photographs import Photograph
from pdd_arch.adaptation.workspace import Workspace, taken_from
from pdd_arch.errors import PDDError
from pdd_arch.inference import TiledUpscaler
from pdd_arch.inference.methods import ImageUpscaler
from pdd_arch.report.html_page import write_page
from pdd_arch.report.page import Curve, Page, Picture, Version, read_rgb
from pdd_arch.selection import Signals
from pdd_arch.selection.signals import middle
from pdd_arch.utils.atomic import write_bytes, write_text, writing
from pdd_arch.utils.wording import shown

#: signals that a statement is made about: name for people, unit, decimals, whether higher is better, and what is noise
_TOLD = {
    'simulated_psnr': ('PSNR', ' dB', 2, True, 0.05),
    'simulated_ssim': ('SSIM', '', 4, True, 0.002),
    'simulated_distance': ('perceptual distance', '', 4, False, 0.002),
    'consistency': ('likeness to the photograph when downsampled again', ' dB', 2, True, 0.1),
}
#: headings of the curves, and which values are better
_CURVES = {
    'simulated_psnr': ('PSNR on simulated pairs', 'higher'),
    'simulated_ssim': ('SSIM on simulated pairs', 'higher'),
    'simulated_distance': ('Perceptual distance on simulated pairs', 'lower'),
    'synthetic_psnr': ('PSNR on downsampled HR images', 'higher'),
    'consistency': ('Likeness to the photograph when downsampled again, dB', 'higher'),
    'structure': ("Structure: SSIM against the generalist's output", 'higher'),
    'inter': ('Inter-model distance', None),
    'intra': ('Intra-model distance', None),
    'niqe': ('NIQE', 'lower'),
}
# LR pixels a side: the page and the preview show the middle of larger photographs
_MOST_PIXELS, _PREVIEW_PIXELS = 512, 96


@dataclass(frozen=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        model: weight file, in the layout of Real-ESRGAN.
        page: HTML page with before and after, on photographs that were kept from training.
        improved: whether it is better than the generalist on the simulated pairs.
        statement: what improved and what did not, in sentences.
        iteration: iteration of the chosen checkpoint.
        before, after: signals of the generalist and of the adapted network.
        unreadable: why photographs and HR photographs were left out, each of which `where` names.
    """

    model: Path
    page: Path
    improved: bool
    statement: list[str]
    iteration: int
    before: Signals
    after: Signals
    unreadable: list[PDDError] = field(default_factory=list)


def result_of_record(
    workspace: Workspace, record: Mapping[str, Any], unreadable: Iterable[PDDError] = ()
) -> Adaptation:
    """The result that a record tells of. Raises DataError where the record lacks something."""
    with taken_from(workspace.record):
        metrics = record['metrics']
        before, after = (Signals(**metrics[name]) for name in ('generalist', 'adapted'))
        iteration, improved, lines = record['chosen']['iteration'], metrics['improved'], metrics['statement']
    page = workspace.page
    return Adaptation(workspace.model, page, improved, lines, iteration, before, after, list(unreadable))


def statement(before: Signals, after: Signals, pairs: int, photographs: int) -> tuple[bool, list[str]]:
    """Whether the adapted network is better by more than chance in PSNR of the simulated pairs; sentences for people.

    `pairs` and `photographs` are the numbers of simulated pairs and held-out photographs that were measured.
    """
    groups: dict[str, list[str]] = {'better': [], 'worse': [], 'about the same': []}
    verdicts = {}
    for name, (label, unit, decimals, higher, noise) in _TOLD.items():
        a, b = getattr(before, name), getattr(after, name)
        gain = (b - a) if higher else (a - b)
        verdicts[name] = 'about the same' if abs(gain) < noise else 'better' if gain > 0 else 'worse'
        groups[verdicts[name]].append(f'{label} {a:.{decimals}f} -> {b:.{decimals}f}{unit}')
    gain, verdict = after.simulated_psnr - before.simulated_psnr, verdicts['simulated_psnr']
    first = {
        'better': f'The adapted model is better than the generalist, by {gain:.2f} dB.',
        'worse': 'NO IMPROVEMENT: the adapted model is worse than the generalist. Keep using the generalist.',
        'about the same': 'NO CLEAR IMPROVEMENT: the adapted model is about as good as the generalist. More steps '
        '(--iterations) or more photographs may help; look at the page before you choose.',
    }[verdict]
    lines = [first, *(f'{group}: {"; ".join(parts)}' for group, parts in groups.items() if parts)]
    lines.append(
        f'An estimate, as there is no ground truth of your camera. PSNR, SSIM (higher is better) and perceptual '
        f'distance (lower is better): {_counted(pairs, "HR image")} not learned from, as the estimated camera '
        f'would take them. Likeness (higher is better): {_counted(photographs, "photograph")} not learned from.'
    )
    return verdict == 'better', lines


def _counted(count: int, what: str) -> str:
    return f'{count} {what}{"s" * (count > 1)}'


def write_photographs_page(
    workspace: Workspace,
    held_out: Sequence[Photograph],
    upscalers: Mapping[str, TiledUpscaler],
    measured: Mapping[int, Signals],
    notes: list[str],
) -> None:
    """Write the page: held-out photographs upscaled by the generalist and by the student; signals over the iterations.

    The outputs go to ``photographs/`` in the workspace; `upscalers` are by name of a row, the generalist's first.
    """
    pictures, scale = [], next(iter(upscalers.values())).scale
    for number, photograph in enumerate(held_out, start=1):
        load = partial(_middle_of, photograph.path)
        image = np.ascontiguousarray(load()[..., ::-1])
        height, width = image.shape[:2]
        versions = [Version('LR', 'lr', load, factor=scale)]
        for name, upscale in upscalers.items():
            target = workspace.root / 'photographs' / name / f'{number:05d}.png'
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            _write_png(target, upscale(image))
            versions.append(Version(name, 'row', partial(read_rgb, target), row=name))
        name = shown(photograph.path.stem)
        pictures.append(Picture(name, 'held-out photographs', width * scale, height * scale, tuple(versions)))
    values = {n: {k: getattr(s, n) for k, s in measured.items()} for n in _CURVES}
    points = {n: [(float(k), float(v)) for k, v in of.items() if v is not None] for n, of in values.items()}
    page = Page(
        title='Adapted to your photographs',
        source=f'{len(pictures)} photographs that were not trained with; before and after',
        metrics=(),
        rows=(),
        baseline=next(iter(upscalers)),
        notes=notes,
        pictures=pictures,
        curves=[Curve(title, {'held-out images': points[n]}, better=b) for n, (title, b) in _CURVES.items()],
        first=('notes', 'images'),
    )
    write_page(page, workspace.page)


def _middle_of(path: Path) -> np.ndarray:
    """The middle of a photograph, at most 512 x 512 pixels: (h, w, 3) uint8 RGB."""
    return middle(read_rgb(path), _MOST_PIXELS, 1)


def write_preview(path: Path, photograph: np.ndarray, upscalers: Sequence[ImageUpscaler]) -> None:
    """Write a PNG of the middle of a photograph, (h, w, 3) BGR uint8, upscaled by each of `upscalers` side by side."""
    crop = np.ascontiguousarray(middle(photograph, _PREVIEW_PIXELS, 1))
    outputs = [upscale(crop) for upscale in upscalers]
    gap = np.full((len(outputs[0]), 8, 3), 255, np.uint8)
    _write_png(path, np.hstack([part for image in outputs for part in (image, gap)][:-1]))


def _write_png(path: Path, image: np.ndarray) -> None:
    write_bytes(path, cv2.imencode('.png', image)[1].tobytes())


def write_table(path: Path, measured: Mapping[int, Signals], chosen: int) -> None:
    """Write a CSV table of signals by iteration (0: the generalist), in which the chosen one is marked."""
    lines = [['iteration', *asdict(measured[chosen]), 'chosen']]
    for iteration, signals in measured.items():
        values = ['' if v is None else f'{v:.5f}' for v in asdict(signals).values()]
        lines.append([str(iteration), *values, 'yes' if iteration == chosen else ''])
    write_text(path, ''.join(','.join(line) + '\n' for line in lines))
