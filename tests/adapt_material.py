"""Folders and weights for tests of `pdd adapt`."""

from pathlib import Path

import cv2
import torch
from torchvision.models import squeezenet1_0

from pdd_arch.demo.photographs import demo_images

GENERALIST = 'bundled:demo_generalist.pth'


def make_folders(root: Path) -> None:
    """``photos`` (10 LR photographs), ``hr`` (7) and ``features.pth`` (random SqueezeNet) below `root`."""
    for name, image in demo_images().items():
        kind, file = name.split('/')
        folder = {'hr': 'hr', 'target_lr': 'photos', 'test_lr': 'photos'}.get(kind)
        if folder:
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / file), image)
    torch.manual_seed(0)
    torch.save(squeezenet1_0(weights=None).state_dict(), root / 'features.pth')
