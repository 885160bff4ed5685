"""Judges the networks of runs by signals that need no ground truth, and remembers what it has measured."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from basicsr.losses import build_loss
from tqdm import tqdm

from pdd_arch.adaptation.photographs import Photograph
from pdd_arch.adaptation.workspace import Workspace, read_json
from pdd_arch.errors import DataError, WeightsError
from pdd_arch.features import FeatureNet
from pdd_arch.images.decoding import read_image
from pdd_arch.inference.methods import tensor_upscaler, trained_network
from pdd_arch.metrics.feature_distance import network_options
from pdd_arch.selection import CameraEstimate, HeldOut, Signals, estimate_camera, hold_out
from pdd_arch.selection.signals import CROP, Outputs, middle
from pdd_arch.selection.statistics import BLOCK
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import shown

__all__ = ['Judge']

#: images that the camera is estimated from, and the LR pixels a side of each that are looked at
_PHOTOGRAPHS, _SCENES, _ESTIMATE_CROP = 96, 64, 64


@dataclass(frozen=True)
class Judge:
    """Measures networks on held-out images.

    Attributes:
        held_out: the images.
        camera: that was estimated, and takes the HR images of the simulated pairs.
        opt: options of a run, for the networks and the distances.
        device: to compute on.
    """

    held_out: HeldOut
    camera: CameraEstimate
    opt: Mapping
    device: str

    @classmethod
    def prepare(
        cls,
        workspace: Workspace,
        photographs: Sequence[Photograph],
        held_out: Mapping[str, Sequence[Photograph]],
        hr: Sequence[Photograph],
        opt: Mapping,
        device: str,
    ) -> 'Judge':
        """Estimate the camera from the images trained with, and cut the held-out ones.

        Args:
            workspace: where the estimate is remembered.
            photographs, hr: that are trained with.
            held_out: ``photographs`` and ``hr``.
            opt: options of the run.
            device: to compute on.
        """
        scale = opt['scale']
        remembered = workspace.camera
        if remembered.is_file():
            camera = _of_file(CameraEstimate, read_json(remembered), remembered)
        else:
            crops = [_crop(p, _ESTIMATE_CROP, BLOCK) for p in _spread(photographs, _PHOTOGRAPHS)]
            scenes = [_crop(p, _ESTIMATE_CROP * scale, scale) for p in _spread(hr, _SCENES)]
            camera = estimate_camera(crops, scenes, scale)
            with writing(remembered), whole_file(remembered) as partial:
                partial.write_text(json.dumps(asdict(camera), indent=1) + '\n', encoding='utf-8')
        images = [_crop(p, CROP, BLOCK, filled=True) for p in held_out['photographs']]
        scenes = [_crop(p, CROP * scale, scale, filled=True) for p in held_out['hr']]
        return cls(hold_out(images, scenes, camera, scale), camera, opt, device)

    def measure(self, workspace: Workspace, name: str, networks: Mapping[int, Path | None]) -> dict[int, Signals]:
        """Signals of networks by iteration; what was measured before is not measured again.

        Args:
            workspace: the folder.
            name: of the run.
            networks: iteration -> checkpoint; None: the generalist.
        """
        file = workspace.root / f'{name}_signals.json'
        known = read_json(file) if file.is_file() else {}
        generalist: Outputs | None = None
        features = FeatureNet(**network_options(self._feature_options(), None))
        distances = build_loss({**self.opt['train']['distill_opt'], 'feature_net': self._feature_options()})
        found = {}
        for iteration, path in tqdm(networks.items(), desc='judging', unit='checkpoint', disable=None, leave=False):
            stamp = '' if path is None else f'{path.stat().st_size} {path.stat().st_mtime_ns}'
            entry = known.get(str(iteration))
            if not isinstance(entry, dict) or entry.get('stamp') != stamp:
                if generalist is None:
                    generalist = self._outputs(None)
                outputs = generalist if path is None else self._outputs(path)
                signals = self.held_out.measure(outputs, generalist, features, distances)
                entry = known[str(iteration)] = {'stamp': stamp, 'signals': asdict(signals)}
                with writing(file), whole_file(file) as partial:
                    partial.write_text(json.dumps(known, indent=1) + '\n', encoding='utf-8')
            found[iteration] = _of_file(Signals, entry.get('signals'), file)
        return found

    def _outputs(self, weights: Path | None) -> Outputs:
        try:
            student = trained_network(self.opt['network_g'], weights, 'params_ema', self.device, 'checkpoint')
        except WeightsError as error:
            if weights is None:
                raise
            raise WeightsError(
                f'{error} Or remove {shown(weights)} and give the same command again: the choice is then among the '
                'other checkpoints.'
            ) from None
        return self.held_out.enlarge(tensor_upscaler(student, self.device))

    def _feature_options(self) -> dict:
        options = dict(self.opt['train']['feature_net'])
        if options['weights'] not in ('imagenet', 'random'):
            options['weights'] = os.path.abspath(options['weights'])
        return options


def _of_file(kind: type, values: object, file: Path):
    try:
        return kind(**values)
    except TypeError as error:
        raise DataError(
            f'{shown(file)}: expected a {kind.__name__} ({error}). Remove it and give the same command again: '
            'it is made anew.'
        ) from None


def write_signals(path: Path, measured: Mapping[int, Signals], chosen: int) -> None:
    """A table of signals, a line per network, as CSV.

    Args:
        path: of the file.
        measured: by iteration; 0 is the generalist.
        chosen: marked.
    """
    with writing(path), whole_file(path) as partial, partial.open('w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(['iteration', *Signals.names(), 'chosen'])
        for iteration, signals in measured.items():
            values = asdict(signals).values()
            cells = ['' if v is None else f'{v:.5f}' for v in values]
            writer.writerow([iteration, *cells, 'yes' if iteration == chosen else ''])


def _spread(photographs: Sequence[Photograph], count: int) -> list[Photograph]:
    """At most `count` of them, evenly spread."""
    positions = np.linspace(0, len(photographs) - 1, min(count, len(photographs)))
    return [photographs[round(i)] for i in positions]


def _crop(photograph: Photograph, side: int, multiple: int, filled: bool = False) -> np.ndarray:
    """The middle of a photograph, BGR in [0, 1], starting at and in whole multiples of `multiple`.

    Args:
        photograph: a file.
        side: pixels at most.
        multiple: as above.
        filled: continue a smaller one by its mirror image, so that the result has `side` x `side` pixels.
    """
    image = middle(read_image(photograph.path), side, multiple)
    height, width = image.shape[:2]
    if filled:
        return cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_REFLECT_101)
    return image[: height // multiple * multiple, : width // multiple * multiple]
