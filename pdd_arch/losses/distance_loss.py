"""Pairwise distance distillation (the paper's loss)."""

from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import LOSS_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet, Features
from pdd_arch.losses import functional
from pdd_arch.losses.distillation import DistillationLoss, Views, checked_layers
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import check_choice

#: layer weights of the released option files (VGG19)
INTER_LAYERS = {'conv2_1': 0.25, 'conv3_1': 0.25, 'conv4_1': 0.25, 'conv5_1': 0.25}
INTRA_LAYERS = {'conv2_2': 0.1, 'conv3_4': 0.3, 'conv4_4': 1.0, 'conv5_4': 1.0}

CHOICES = {
    'inter_distance': tuple(functional.INTER_DISTANCES),
    'intra_distance': tuple(functional.INTRA_DISTANCES),
    'intra_criterion': (*functional.INTRA_CRITERIA, *functional.SIGNED_CRITERIA),
    'intra_pairing': ('cross_domain', 'batch_matrix'),
    'batch_matrix_domains': ('real', 'both'),
}


@register(LOSS_REGISTRY)
class PairwiseDistanceLoss(DistillationLoss):
    """Inter-model and intra-model distance distillation.

    Args:
        inter_layers: weights lambda_k of the inter-model term by layer.
        intra_layers: weights mu_k of the intra-model term by layer.
        inter_weight, intra_weight: weights of the two terms; a term of weight 0 is not computed.
        inter_distance: ``gram_change`` | ``gram`` | ``l1`` | ``l2``.
        intra_distance: ``l1`` | ``fro``.
        intra_criterion: ``ce`` | ``l1`` | ``l2`` | ``fro`` | ``cosine`` | ``cosine_released``.
        intra_pairing: ``cross_domain`` (the paper: target domain against synthetic by position in the batch) or
            ``batch_matrix`` (all pairs of target-domain images of the batch; `intra_distance` and `intra_criterion`
            are not used). Two images have one distance, which the scale normalisation makes 1: three or more are
            needed for an effect.
        batch_matrix_domains: ``real`` (target-domain images), or ``both`` to take those and the synthetic ones
            together into the matrix.
        feature_net: options of the feature network; None when the caller hands over features.

    Raises:
        OptionError: an unknown choice, or ``fro`` with ``ce`` (a scalar has no channels to take a softmax over).
    """

    def __init__(
        self,
        inter_layers: Mapping[str, float] = INTER_LAYERS,
        intra_layers: Mapping[str, float] = INTRA_LAYERS,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        inter_distance: str = 'gram_change',
        intra_distance: str = 'l1',
        intra_criterion: str = 'ce',
        intra_pairing: str = 'cross_domain',
        batch_matrix_domains: str = 'real',
        feature_net: Mapping[str, Any] | FeatureNet | None = None,
    ) -> None:
        given = (inter_distance, intra_distance, intra_criterion, intra_pairing, batch_matrix_domains)
        for (name, choices), value in zip(CHOICES.items(), given, strict=True):
            check_choice(name, value, choices)
        if intra_pairing == 'cross_domain' and (intra_distance, intra_criterion) == ('fro', 'ce'):
            raise OptionError(
                "'ce' takes a softmax over channels, but intra_distance: 'fro' gives one number for the batch",
                where='intra_criterion',
                way_out='Use intra_distance: l1, or intra_criterion: l1, l2 or fro.',
            )
        # a term without weight needs no features
        inter = self._weighted('inter', inter_weight, inter_layers)
        intra = self._weighted('intra', intra_weight, intra_layers)
        super().__init__(feature_net, (*inter, *intra))
        self.inter_layers, self.intra_layers = inter, intra
        self.inter_weight, self.intra_weight = inter_weight, intra_weight
        self.inter_distance = inter_distance
        self.intra_distance, self.intra_criterion = intra_distance, intra_criterion
        self.intra_pairing, self.batch_matrix_domains = intra_pairing, batch_matrix_domains
        batch_matrix = intra_pairing == 'batch_matrix'
        self.uses_synthetic = bool(inter_weight) or not batch_matrix or batch_matrix_domains == 'both'
        self.pairs_domains = bool(inter_weight) or not batch_matrix
        self.least_batch = 2 if intra_weight and batch_matrix else 1
        # norms over the batch and distances within it; the default intra term alone is a mean over images
        norms = batch_matrix or 'fro' in (intra_criterion, intra_distance)
        self.couples_images = bool(inter_weight or (intra_weight and norms))

    @staticmethod
    def _weighted(term: str, weight: float, layers: Mapping[str, float]) -> dict[str, float]:
        """The layers of a term, none if its weight is 0."""
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise OptionError(where=f'{term}_weight', expected='a number of at least 0', found=repr(weight))
        checked = checked_layers(f'{term}_layers', layers) if weight else {}
        if weight and not checked:
            raise OptionError('empty', where=f'{term}_layers', expected=f'at least one layer (or {term}_weight: 0)')
        return checked

    def statistics(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        """By layer: the inter-model norm, (1,); the intra-model value or norms, (1,), or feature maps."""
        found = {
            f'inter {k}': functional.inter_model_loss(*_layer(features, k), distance=self.inter_distance).reshape(1)
            for k in self.inter_layers
        }
        for layer in self.intra_layers:
            for name, value in self._intra_statistics(_layer(features, layer)).items():
                found[f'intra {layer}{name}'] = value
        return found

    def combine(self, statistics: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``l_inter`` and ``l_intra``, weighted; a term of weight 0 is absent."""
        terms = {}
        if self.inter_weight:
            terms['l_inter'] = self.inter_weight * functional.weighted_sum(
                self.inter_layers, lambda layer: functional.frobenius_of_parts(statistics[f'inter {layer}'])
            )
        if self.intra_weight:
            terms['l_intra'] = self.intra_weight * functional.weighted_sum(
                self.intra_layers, lambda layer: self._intra(f'intra {layer}', statistics)
            )
        return terms

    @property
    def _compares_norms(self) -> bool:
        return self.intra_distance == 'fro' and self.intra_criterion not in functional.SIGNED_CRITERIA

    def _intra_statistics(self, maps: Views[torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.intra_pairing == 'batch_matrix':
            student, teacher = maps.student_real, maps.teacher_real
            if self.batch_matrix_domains == 'both':
                student, teacher = torch.cat((student, maps.student_syn)), torch.cat((teacher, maps.teacher_syn))
            return {' student': student, ' teacher': teacher}
        if self._compares_norms:
            return {
                ' student': functional.intra_fro(maps.student_real, maps.student_syn).reshape(1),
                ' teacher': functional.intra_fro(maps.teacher_real, maps.teacher_syn).reshape(1),
            }
        value = functional.intra_model_loss(*maps, distance=self.intra_distance, criterion=self.intra_criterion)
        return {'': value.reshape(1)}

    def _intra(self, name: str, statistics: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.intra_pairing == 'batch_matrix':
            return functional.batch_matrix_loss(statistics[f'{name} student'], statistics[f'{name} teacher'])
        if self._compares_norms:
            student = functional.frobenius_of_parts(statistics[f'{name} student'])
            teacher = functional.frobenius_of_parts(statistics[f'{name} teacher'])
            return functional.INTRA_CRITERIA[self.intra_criterion](student, teacher)
        parts = statistics[name]
        return functional.frobenius_of_parts(parts) if self.intra_criterion == 'fro' else parts.mean()

    def forward(
        self,
        student_real: torch.Tensor,
        teacher_real: torch.Tensor,
        student_syn: torch.Tensor,
        teacher_syn: torch.Tensor,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Both terms for outputs of the two models.

        Args:
            student_real, teacher_real: S and G on target-domain input, (N, 3, H, W), [0, 1], not clamped.
            student_syn, teacher_syn: on synthetic input, same shape.

        Returns:
            ``(l_inter, l_intra)``, weighted scalars; None where the weight is 0. No gradient reaches the teacher's.
        """
        terms = self.compute(student_real, teacher_real, student_syn, teacher_syn)
        return terms.get('l_inter'), terms.get('l_intra')


def _layer(features: Views[Features], layer: str) -> Views[torch.Tensor]:
    synthetic = [None if view is None else view[layer] for view in (features.student_syn, features.teacher_syn)]
    return Views(features.student_real[layer], features.teacher_real[layer], *synthetic)
