"""What an adaptation leaves: the model, the record, a page with before and after, and a statement."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.adaptation.photographs import Photograph, PhotographSet
from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import DataError
from pdd_arch.inference import TiledUpscaler
from pdd_arch.report.page import Curve, Page, Picture, Version, write_page
from pdd_arch.report.pictures import read_rgb
from pdd_arch.selection import Choice, Signals
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import shown
from pdd_arch.weights.checkpoints import read_checkpoint
from pdd_arch.weights.writing import write_checkpoint

__all__ = [
    'Adaptation',
    'recorded',
    'result_of_record',
    'statement',
    'write_model',
    'write_photographs_page',
    'write_record',
]

#: signals that a statement is made about: name for people, unit, decimals, whether higher is better, and what is noise
_TOLD = {
    'simulated_psnr': ('PSNR', ' dB', 2, True, 0.05),
    'simulated_ssim': ('SSIM', '', 4, True, 0.002),
    'simulated_distance': ('perceptual distance', '', 4, False, 0.002),
    'consistency': ('likeness to the photograph when reduced again', ' dB', 2, True, 0.1),
}


@dataclass(frozen=True)
class Adaptation:
    """What came of it.

    Attributes:
        model: weight file, in the layout of Real-ESRGAN.
        page: before and after, on photographs that were kept from training.
        improved: whether it is better than the generalist on the simulated pairs.
        statement: what improved and what did not, sentences for people.
        iteration: of the checkpoint that was chosen.
        before, after: signals of the generalist and of the adapted network.
    """

    model: Path
    page: Path
    improved: bool
    statement: list[str]
    iteration: int
    before: Signals
    after: Signals


def write_model(workspace: Workspace, checkpoint: Path) -> None:
    """The averaged weights of a checkpoint as ``model.pth``, in the layout of Real-ESRGAN (``params_ema``)."""
    write_checkpoint({'params_ema': read_checkpoint(checkpoint)['params_ema']}, workspace.model)


def write_record(workspace: Workspace, record: Mapping) -> None:
    """What was done, as ``adaptation.json``."""
    with writing(workspace.record), whole_file(workspace.record) as partial_file:
        partial_file.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')


def statement(before: Signals, after: Signals, pairs: int, photographs: int) -> tuple[bool, list[str]]:
    """What improved and what did not.

    Args:
        before, after: signals of the generalist and of the adapted network.
        pairs: simulated pairs they were measured on.
        photographs: held-out photographs.

    Returns:
        Whether the adapted network is the better one, by more than chance, in PSNR of the simulated pairs; sentences
        for people.
    """
    groups: dict[str, list[str]] = {'better': [], 'worse': [], 'about the same': []}
    verdicts = {}
    for name, (label, unit, decimals, higher, noise) in _TOLD.items():
        a, b = asdict(before)[name], asdict(after)[name]
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
    held_out: list[Photograph],
    upscalers: Mapping[str, TiledUpscaler],
    measured: Mapping[int, Signals],
    choice: Choice,
    lines: list[str],
) -> int:
    """The page: held-out photographs enlarged, with the generalist and adapted; signals over the iterations.

    Args:
        workspace: the folder; outputs go to ``photographs/`` there.
        held_out: photographs that were not trained with.
        upscalers: name of a row -> network, the generalist first.
        measured: signals by iteration, 0 being the generalist.
        choice: the checkpoint taken.
        lines: the statement.

    Returns:
        How many photographs are on it.
    """
    pictures = []
    for number, photograph in enumerate(held_out, start=1):
        image = cv2.cvtColor(_shown(photograph.path), cv2.COLOR_RGB2BGR)
        versions = [Version('LR', 'lr', partial(_shown, photograph.path), factor=next(iter(upscalers.values())).scale)]
        size = (0, 0)
        for name, upscale in upscalers.items():
            target = workspace.root / 'photographs' / name / f'{number:05d}.png'
            result = upscale(image)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(target) as partial_file:
                    partial_file.write_bytes(cv2.imencode('.png', result)[1].tobytes())
            versions.append(Version(name, 'row', partial(read_rgb, target), row=name))
            size = result.shape[:2]
        pictures.append(Picture(shown(photograph.path.stem), 'held-out photographs', size[1], size[0], tuple(versions)))
    names = list(upscalers)
    page = Page(
        title='Adapted to your photographs',
        source=f'{len(pictures)} photographs that were not trained with; before and after',
        metrics=(),
        rows=(),
        baseline=names[0],
        notes=[*lines, f'Iteration {choice.key} was chosen: {choice.reason}.'],
        pictures=pictures,
        curves=_curves(measured),
        first=('notes', 'images'),
    )
    count, _ = write_page(page, workspace.page)
    return count


#: the page shows the middle of larger photographs
_MOST_PIXELS = 512


def _shown(path: Path) -> np.ndarray:
    """The middle of a photograph, RGB."""
    image = read_rgb(path)
    top, left = (max(n - _MOST_PIXELS, 0) // 2 for n in image.shape[:2])
    return image[top : top + _MOST_PIXELS, left : left + _MOST_PIXELS]


#: headings of the curves
_CURVES = {
    'simulated_psnr': 'PSNR on simulated pairs',
    'simulated_ssim': 'SSIM on simulated pairs',
    'simulated_distance': 'Perceptual distance on simulated pairs',
    'synthetic_psnr': 'PSNR on merely reduced pairs',
    'consistency': 'Likeness to the photograph when reduced again, dB',
    'structure': "Structure: SSIM against the generalist's output",
    'inter': 'Inter-model distance',
    'intra': 'Intra-model distance',
    'niqe': 'NIQE',
}


def _curves(measured: Mapping[int, Signals]) -> list[Curve]:
    curves = []
    for name in Signals.names():
        points = [(float(k), float(v)) for k, s in measured.items() if (v := getattr(s, name)) is not None]
        better = 'lower' if name in ('simulated_distance', 'niqe') else None if name in ('inter', 'intra') else 'higher'
        curves.append(Curve(_CURVES[name], {'held-out images': points}, better=better))
    return curves


def recorded(found: PhotographSet) -> dict:
    """Without names of files: the record goes out with the model."""
    return {'usable': len(found.usable), 'found': [finding.text for finding in found.findings]}


def result_of_record(workspace: Workspace, record: dict) -> Adaptation:
    """The result of an earlier call. Raises DataError where the record lacks something."""
    try:
        metrics = record['metrics']
        before, after = (Signals(**metrics[name]) for name in ('generalist', 'adapted'))
        iteration, improved, lines = record['chosen']['iteration'], metrics['improved'], metrics['statement']
    except (KeyError, TypeError) as error:
        raise DataError(
            f'{shown(workspace.record)}: lacks what `pdd adapt` writes ({error}). Remove it and give the same command '
            'again: it is made anew.'
        ) from None
    return Adaptation(workspace.model, workspace.page, improved, lines, iteration, before, after)
