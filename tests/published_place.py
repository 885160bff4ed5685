"""A folder in which a published option file can run: its data, its weights, and small stand-ins for fixed networks."""

import functools
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from basicsr.archs import basicvsr_arch, basicvsrpp_arch, build_network, vgg_arch
from basicsr.models import realesrgan_model, realesrnet_model
from basicsr.utils import USMSharp
from helpers import release_logger
from published_data import images, videos
from published_files import SIDE, TRAINING, side_of_frames
from torch import nn
from torchvision.models import vgg

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run


# ---------------------------------------------------------------- small stand-ins
class SmallFlow(nn.Module):
    """In place of SPyNet, whose six levels want larger images and cost most of a step."""

    def __init__(self, load_path: str | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 2, 3, padding=1)
        if load_path:
            self.load_state_dict(torch.load(load_path, weights_only=True)['params'])

    def forward(self, ref: torch.Tensor, supp: torch.Tensor) -> torch.Tensor:
        """(N, 2, H, W) flow between images (N, 3, H, W)."""
        return self.conv(torch.cat((ref, supp), dim=1))


class SmallVGG19(nn.Module):
    """The layers of VGG19, of 2 channels each and without the head."""

    def __init__(self, pretrained: bool) -> None:
        assert not pretrained, 'BasicSR would download a file that is in the folder'
        super().__init__()
        self.features = vgg.make_layers([n if n == 'M' else 2 for n in vgg.cfgs['E']])


@pytest.fixture
def small_parts(monkeypatch):
    """Makes small what no option does: SPyNet, VGG19 and the 51 pixels of Real-ESRGAN's sharpening."""
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', SmallVGG19)
    for module in (basicvsr_arch, basicvsrpp_arch):
        monkeypatch.setattr(module, 'SpyNet', SmallFlow)
    for module in (realesrnet_model, realesrgan_model):
        monkeypatch.setattr(module, 'USMSharp', functools.partial(USMSharp, radius=3))


# ---------------------------------------------------------------- the folder
@pytest.fixture(scope='module')
def data_of(tmp_path_factory):
    """Function of the side of GT frames: folders whose ``datasets/`` and ``basicsr/`` make up what the files name."""
    of_images = tmp_path_factory.mktemp('images')
    images(of_images)

    @functools.cache
    def of_side(side: int) -> tuple[Path, Path]:
        of_videos = tmp_path_factory.mktemp('videos')
        videos(of_videos, side)
        return of_images, of_videos

    return of_side


@pytest.fixture
def published_place(data_of, small_parts, tmp_path, monkeypatch):
    """Function of options: makes the current directory, a new one, a place where ``run.yml`` with them can run."""
    monkeypatch.chdir(tmp_path)

    def prepare(options: dict[str, Any]) -> None:
        Path('datasets').mkdir()
        for root in data_of(side_of_frames(options)):
            for folder in (root / 'datasets').iterdir():
                os.symlink(folder, Path('datasets', folder.name))
        os.symlink(data_of(SIDE)[0] / 'basicsr', 'basicsr')
        write_weights(options)
        write_file(options)

    return prepare


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def write_file(options: dict[str, Any]) -> None:
    """Writes ``run.yml``."""
    Path('run.yml').write_text(yaml.dump(options, Dumper=_WithoutAliases, sort_keys=False))


def write_weights(options: dict[str, Any]) -> None:
    """Writes the weights that a file starts from: of the run that it names, or of its own networks."""
    paths, network_g = options['path'], options['network_g']
    if spynet := network_g.get('spynet_path'):
        _save(SmallFlow(), spynet)
    if edvr := network_g.get('edvr_path'):
        frames = 2 * network_g['temporal_padding'] + 1
        _save(basicvsr_arch.EDVRFeatureExtractor(frames, network_g['num_feat'], None), edvr)
    if file := paths.get('pretrain_network_g'):
        runs = {other['name']: other['network_g'] for other in TRAINING.values()}
        _save(_network(runs.get(Path(file).parts[1], network_g)), file)
    if file := paths.get('pretrain_network_d'):
        _save(_network(options['network_d']), file)
    if 'perceptual_opt' in options.get('train', {}):
        Path(vgg_arch.VGG_PRETRAIN_PATH).parent.mkdir(parents=True, exist_ok=True)
        torch.save(SmallVGG19(pretrained=False).state_dict(), vgg_arch.VGG_PRETRAIN_PATH)


def _network(section: dict[str, Any]) -> nn.Module:
    release_logger()
    return build_network(deepcopy(section))


def _save(network: nn.Module, file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    torch.save({'params': state, 'params_ema': state}, file)


def command(name: str, *flags: str) -> int:
    """Exit status of ``basicsr NAME`` on ``run.yml``."""
    release_logger()
    return run('basicsr', main, [name, '-opt', 'run.yml', *flags])
