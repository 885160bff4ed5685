"""What every distillation loss has in common: four views, and the features it wants of them."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from typing_extensions import NamedTuple  # typing's own is generic from Python 3.11 on

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet, Features

T = TypeVar('T')


class Views(NamedTuple, Generic[T]):
    """The four outputs that distillation compares, ``Views[torch.Tensor]``, or their features, ``Views[Features]``."""

    student_real: T
    teacher_real: T
    #: a `T` too; None where a loss does not use it (`DistillationLoss.uses_synthetic`)
    student_syn: Any = None
    teacher_syn: Any = None


class DistillationLoss(nn.Module):
    """Base of the losses that ``train.distill_opt`` can name.

    A loss declares what it needs (`layers`, `uses_synthetic`) and turns views into named terms. `PDDModel` computes
    the features, each once an iteration, and calls :meth:`terms`; called on images by itself, the loss runs its own
    `feature_net`.

    A loss that is a mean over the images of the batch is done with that: means of parts of a batch average to the mean
    of the whole. One that is not (a norm over the batch, a comparison of its images with each other) depends on how
    many processes or accumulated parts a batch is spread over, unless it also sets `couples_images` and defines
    :meth:`statistics` and :meth:`combine`, from which the loss of the whole batch is put together.

    Args:
        feature_net: options of a `FeatureNet` (without ``layers``), a `FeatureNet`, or None when the features are
            handed to :meth:`terms`.
        layers: names of the layers whose features the loss compares; none: it compares images.
    """

    #: whether the loss uses the outputs on synthetic input at all
    uses_synthetic = True
    #: whether it compares the domains image by image, so that a batch must hold as many of each; only asked where it
    #: uses the synthetic outputs
    pairs_domains = True
    #: images per domain that a batch must have for the loss to be defined
    least_batch = 1
    #: whether the loss of a batch is anything but the mean of the losses of its equal parts
    couples_images = False

    def __init__(self, feature_net: Mapping[str, Any] | FeatureNet | None, layers: Iterable[str]) -> None:
        super().__init__()
        self.layers = tuple(dict.fromkeys(layers))
        if isinstance(feature_net, Mapping):
            feature_net = FeatureNet(self.layers, **feature_net) if self.layers else None
        self.feature_net = feature_net

    def terms(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        """Weighted scalar terms by the name under which they are logged; their sum is the loss.

        Args:
            images: outputs, (N, 3, H, W).
            features: of those outputs, ``{layer: (N, C, h, w)}``; the teacher's carry no gradient.
        """
        return self.combine(self.statistics(images, features))

    def statistics(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        """What :meth:`combine` needs of a part of a batch: named tensors, to be concatenated along their first axis."""
        raise NotImplementedError(f'{type(self).__name__} defines neither terms() nor statistics() and combine()')

    def combine(self, statistics: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """:meth:`terms` of a whole batch from the concatenated statistics of its parts."""
        raise NotImplementedError(f'{type(self).__name__} defines no combine()')

    def compute(
        self,
        student_real: torch.Tensor,
        teacher_real: torch.Tensor,
        student_syn: torch.Tensor | None = None,
        teacher_syn: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """:meth:`terms` of images, with the loss's own feature network. The teacher's outputs are constants."""
        teacher_syn = None if teacher_syn is None else teacher_syn.detach()
        images = Views(student_real, teacher_real.detach(), student_syn, teacher_syn)
        if not self.layers:
            return self.terms(images, Views({}, {}))
        if self.feature_net is None:
            raise OptionError(
                f'{type(self).__name__} compares features of layers {list(self.layers)} but has no feature_net',
                way_out='Give feature_net: {type: vgg19, weights: imagenet} (in an option file: once, under train).',
            )
        given = {k: v for k, v in images._asdict().items() if v is not None}
        found = self.feature_net.extract(given, dict.fromkeys(given, self.layers))
        return self.terms(images, Views(**found))


def checked_layers(name: str, layers: Mapping[str, float]) -> dict[str, float]:
    """Layer weights of the option `name` as plain floats; raises OptionError if they are something else."""
    if not isinstance(layers, Mapping):
        raise OptionError(where=name, expected='a mapping of layer names to weights', found=repr(layers))
    for layer, weight in layers.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise OptionError(where=f'{name}.{layer}', expected='a number', found=repr(weight))
    return {str(k): float(v) for k, v in layers.items()}
