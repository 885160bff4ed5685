"""Judging the networks of runs by signals that need no ground truth; what was measured is kept."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.losses import build_loss
from torch import nn
from tqdm import tqdm

from pdd_arch.adaptation.photographs import Photograph
from pdd_arch.adaptation.workspace import MADE_ANEW, Split, Workspace, taken_from
from pdd_arch.errors import WeightsError
from pdd_arch.features import FeatureNet
from pdd_arch.images.decoding import read_image
from pdd_arch.inference.methods import tensor_upscaler, trained_network
from pdd_arch.losses import DistillationLoss
from pdd_arch.metrics.feature_distance import network_options
from pdd_arch.selection import CameraEstimate, HeldOut, Signals, estimate_camera, hold_out
from pdd_arch.selection.camera import BLOCK
from pdd_arch.selection.signals import CROP, Outputs, middle
from pdd_arch.utils.atomic import write_json
from pdd_arch.utils.files import read_json
from pdd_arch.utils.wording import shown

# numbers of photographs and HR images that the camera is estimated from, and the LR pixels a side used of each
_PHOTOGRAPHS, _SCENES, _ESTIMATE_CROP = 96, 64, 64


@dataclass(frozen=True)
class Material:
    """What a camera is estimated from, and what networks are judged by: crops (h, w, 3) BGR in [0, 1].

    Attributes:
        photographs, scenes: of the photographs and the HR images that are trained with; empty where `camera` is known.
        held_out_photographs, held_out_hr: of the others.
        camera: an estimate that was kept.
    """

    photographs: list[np.ndarray]
    scenes: list[np.ndarray]
    held_out_photographs: list[np.ndarray]
    held_out_hr: list[np.ndarray]
    camera: CameraEstimate | None

    @classmethod
    def read(cls, workspace: Workspace, photographs: Split, hr: Split, scale: int) -> 'Material':
        """Read all of it. DataError or MissingFileError for an image or a kept estimate that cannot be read."""
        camera, crops, scenes = None, [], []
        if workspace.camera.is_file():
            with taken_from(workspace.camera):
                camera = CameraEstimate(**read_json(workspace.camera, MADE_ANEW))
        else:
            crops = [_crop(p, _ESTIMATE_CROP, BLOCK) for p in _spread(photographs.train, _PHOTOGRAPHS)]
            scenes = [_crop(p, _ESTIMATE_CROP * scale, scale) for p in _spread(hr.train, _SCENES)]
        lr_images = [_crop(p, CROP, BLOCK, filled=True) for p in photographs.held_out]
        hr_images = [_crop(p, CROP * scale, scale, filled=True) for p in hr.held_out]
        return cls(crops, scenes, lr_images, hr_images, camera)


@dataclass(frozen=True)
class Judge:
    """Measures networks on held-out images.

    Attributes:
        opt: options of a run, for the networks and the distances.
        check: called between parts of the work; what it raises ends it.
    """

    held_out: HeldOut
    camera: CameraEstimate
    opt: Mapping[str, Any]
    device: str
    check: Callable[[], None] = lambda: None

    @classmethod
    def prepare(
        cls,
        workspace: Workspace,
        material: Material,
        opt: Mapping[str, Any],
        device: str,
        check: Callable[[], None] = lambda: None,
    ) -> 'Judge':
        """Estimate the camera, unless that is done, and let it take pictures of the held-out HR images."""
        camera = material.camera
        if camera is None:
            camera = estimate_camera(material.photographs, material.scenes, opt['scale'], check)
            write_json(workspace.camera, asdict(camera))
        held_out = hold_out(material.held_out_photographs, material.held_out_hr, camera, opt['scale'])
        return cls(held_out, camera, opt, device, check)

    def measure(
        self, workspace: Workspace, name: str, checkpoints: Mapping[int, Path], progress: bool = True
    ) -> dict[int, Signals]:
        """Signals of the generalist (0) and of a run's checkpoints; what was measured before is not measured again.

        With `progress` a bar is shown. Raises WeightsError for a checkpoint, and DataError for kept signals, that
        cannot be read or written.
        """
        file = workspace.root / f'{name}_signals.json'
        known = read_json(file, MADE_ANEW) if file.is_file() else {}
        networks: dict[int, Path | None] = {0: None, **checkpoints}
        found = {}
        hidden = None if progress else True  # None: unless there is a terminal
        for iteration, path in tqdm(networks.items(), desc='judging', unit='checkpoint', disable=hidden, leave=False):
            stamp = '' if path is None else f'{path.stat().st_size} {path.stat().st_mtime_ns}'
            entry = known.get(str(iteration))
            if not isinstance(entry, dict) or entry.get('stamp') != stamp:
                outputs = self._generalist if path is None else self._outputs(path)
                self.check()
                signals = self.held_out.measure(outputs, self._generalist, self._features, self._distances)
                entry = known[str(iteration)] = {'stamp': stamp, 'signals': asdict(signals)}
                write_json(file, known)
            with taken_from(file):
                found[iteration] = Signals(**entry['signals'])
        return found

    @functools.cached_property
    def _generalist(self) -> Outputs:
        return self._outputs(None)

    @functools.cached_property
    def _features(self) -> FeatureNet:
        return FeatureNet(**network_options(self.opt['train']['feature_net'], None))

    @functools.cached_property
    def _distances(self) -> DistillationLoss:
        train = self.opt['train']
        loss: DistillationLoss = build_loss({**train['distill_opt'], 'feature_net': train['feature_net']})
        return loss

    def _outputs(self, checkpoint: Path | None) -> Outputs:
        upscaler = tensor_upscaler(averaged_network(self.opt, checkpoint, self.device), self.device)

        def upscaled(images: torch.Tensor) -> torch.Tensor:
            self.check()
            return upscaler(images)

        return self.held_out.upscale(upscaled)


def averaged_network(opt: Mapping[str, Any], checkpoint: Path | None, device: str) -> nn.Module:
    """The averaged network of a run's checkpoint, or its generalist (None). Raises WeightsError."""
    try:
        return trained_network(opt['network_g'], checkpoint, 'params_ema', device, 'checkpoint')
    except WeightsError as error:
        if checkpoint is None:
            raise
        raise error.with_fields(
            way_out=f'{error.way_out} Or remove {shown(checkpoint)} and give the same command again: the choice is '
            'then among the other checkpoints.'
        ) from None


def _spread(photographs: Sequence[Photograph], count: int) -> list[Photograph]:
    """At most `count` of them, evenly spread."""
    positions = np.linspace(0, len(photographs) - 1, min(count, len(photographs)))
    return [photographs[round(i)] for i in positions]


def _crop(photograph: Photograph, side: int, multiple: int, filled: bool = False) -> np.ndarray:
    """The middle `side` x `side` pixels of a photograph, BGR in [0, 1], starting at multiples of `multiple`.

    Of a smaller photograph the largest whole multiple; with `filled`, all of it, padded by reflection.
    """
    image = middle(read_image(photograph.path), side, multiple)
    height, width = image.shape[:2]
    if filled:
        return cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_REFLECT_101)
    # copied, so that the whole photograph need not stay in memory
    return image[: height // multiple * multiple, : width // multiple * multiple].copy()
