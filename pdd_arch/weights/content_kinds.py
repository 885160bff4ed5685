"""What the content of a readable weight file is, where it is not the network that is wanted; and what to take."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from pdd_arch.utils.wording import show, shown
from pdd_arch.weights.prefixes import nearest, state_dicts

_LORA = re.compile(r'(?:^|[._])lora_?(?:A|B|a|b|up|down|unet|te)(?:[._]|\d|$)')
_DISCRIMINATOR, _CLASSIFIER = 'a discriminator', 'an image classifier such as torchvision publishes'
_MIXTURE, _PART = 'a mixture of tensors and entries of another kind', 'a part of the weights'
#: keys of a file -> what it is
_ENTRIES = (
    ({'optimizers', 'schedulers', 'iter'}, 'a training state, which holds optimizers but no network'),
    ({'state', 'param_groups'}, 'the state of an optimizer'),
    ({'shadow_params'}, 'a moving average without the names of its tensors (torch_ema)'),
)
#: some names of the tensors of a network -> what it is
_NETWORKS = (
    ({'conv0.weight', 'conv9.weight', 'conv9.bias'}, f'{_DISCRIMINATOR} (UNetDiscriminatorSN)'),
    ({'conv_0.weight', 'conv_9.weight', 'conv_9.bias'}, f'{_DISCRIMINATOR} (UNetDiscriminatorSN)'),
    ({'conv0_0.weight', 'conv0_1.weight', 'linear1.weight'}, f'{_DISCRIMINATOR} (VGGStyleDiscriminator)'),
    ({'features.0.weight', 'classifier.0.weight'}, f'{_DISCRIMINATOR} of ESRGAN, or {_CLASSIFIER}'),
    ({'features.0.weight', 'classifier.6.weight'}, _CLASSIFIER),
    ({'features.0.weight', 'classifier.1.weight'}, _CLASSIFIER),
)


def kind_of_network(names: Iterable[str]) -> str | None:
    """What a state dict is by the names of its tensors, if no network that upscales."""
    _, bare = nearest(None, dict.fromkeys(names))
    names = bare.keys()
    if any(_LORA.search(name) for name in names):
        return 'a LoRA, which changes another network and is none itself'
    if any(name.startswith('model.diffusion_model.') for name in names):
        return 'a diffusion model such as Stable Diffusion'
    return next((what for some, what in _NETWORKS if some <= names), None)


def kind_of_content(content: Mapping[Any, Any]) -> str | None:
    """What a file is, if it holds nothing that could be a network that upscales."""
    if not content:
        return 'empty: a dictionary without entries'
    for entries, what in _ENTRIES:
        if entries <= content.keys():
            return what
    others = [k for k, v in content.items() if not isinstance(v, torch.Tensor)]
    if 0 < len(others) < len(content) and not state_dicts(content):
        return f'{_MIXTURE} ({", ".join(map(show, others[:3]))})'
    kinds = [kind_of_network(state) for state in state_dicts(content).values()]
    return kinds[0] if len(kinds) == 1 else None


def part_of_several(path: str | Path) -> str | None:
    """What a file is whose name says that the weights are divided (``model-00001-of-00002.safetensors``)."""
    found = re.search(r'-0*(\d+)-of-0*(\d+)\.', Path(path).name)
    return f'{_PART} (file {found[1]} of {found[2]})' if found and found[2] != '1' else None


def instead_of(what: str, path: str | Path, wanted: str = 'the network') -> str:
    """The advice that suits a file of a kind: its companion of the same training, if it is there."""
    file = Path(path)
    if what.startswith('a training state'):
        found = file.parent.parent / 'models' / f'net_g_{file.stem}.pth'
        return f'Take {shown(found)}.' if found.is_file() else 'Take net_g_N.pth of the folder models/ of that run.'
    if what.startswith(_DISCRIMINATOR):
        names = {file.name.replace('net_d', 'net_g'), file.name.replace('_netD', '')} - {file.name}
        beside = next((f for name in names if (f := file.with_name(name)).is_file()), None)
        return (
            f'Take {shown(beside)}.' if beside else 'Take the network that was trained with it: net_g_N.pth of BasicSR.'
        )
    if what.startswith(_MIXTURE):
        tensors = (
            f'k: v for k, v in torch.load({file.name!r}, weights_only=True).items() if isinstance(v, torch.Tensor)'
        )
        return f"Save its tensors alone: torch.save({{{tensors}}}, 'net.pth')."
    if what.startswith(_PART):
        return 'Put the tensors of all parts into one state dict, and save that.'
    if what.startswith('a LoRA'):
        return 'Merge it into the network that it was made for, and save that.'
    if what.startswith('a moving average'):
        return 'Copy it into the network (copy_to) where it was trained, and save the state dict of that.'
    return f'Give the weights of {wanted}.'
