"""The mathematics of pairwise distance distillation, as pure functions of tensors.

Notation (of the paper): S student, G teacher, t and s their outputs on target-domain and synthetic input, in names
``real`` and ``syn``; f a feature map (N, C, h, w). Everything works in float32 and float64.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

Comparison = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# keeps the logarithm of a saturated softmax finite; a constant of the released code, part of the definition
CE_EPSILON = 1e-6


def gram_matrix(features: torch.Tensor) -> torch.Tensor:
    """Gram matrix of each sample: F F^T / (C h w), (N, C, h, w) -> (N, C, C)."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return torch.bmm(flat, flat.transpose(1, 2)) / (c * h * w)


def weighted_sum(weights: Mapping[str, float], term: Callable[[str], torch.Tensor]) -> torch.Tensor:
    """Sum over the layers of weight times term, a scalar; 0 without layers."""
    return sum((weight * term(layer) for layer, weight in weights.items()), start=torch.zeros(()))


def frobenius(difference: torch.Tensor) -> torch.Tensor:
    """Frobenius norm over the whole batch, a scalar."""
    norm: torch.Tensor = torch.linalg.vector_norm(difference)
    return norm


def frobenius_of_parts(norms: torch.Tensor) -> torch.Tensor:
    """Frobenius norm of a whole from the norms of its parts, (parts,) -> scalar."""
    # that of a single part is the part's, to the last bit
    return norms[0] if norms.numel() == 1 else frobenius(norms)


# ---------------------------------------------------------------- inter-model distance
#: of feature maps f_S and f_G (N, C, h, w): (N, C, C) for Gram matrices, else elementwise
INTER_DISTANCES: dict[str, Comparison] = {
    'gram_change': lambda student, teacher: gram_matrix(student - teacher),
    'gram': lambda student, teacher: gram_matrix(student) - gram_matrix(teacher),
    'l1': lambda student, teacher: (student - teacher).abs(),
    'l2': lambda student, teacher: (student - teacher).square(),
}


def inter_model_loss(
    student_real: torch.Tensor,
    teacher_real: torch.Tensor,
    student_syn: torch.Tensor,
    teacher_syn: torch.Tensor,
    distance: str = 'gram_change',
) -> torch.Tensor:
    """|| Delta(t, t') - Delta(s, s') ||_F over the whole batch: one number, neither a mean nor per sample.

    Feature maps are (N, C, h, w); Delta is ``INTER_DISTANCES[distance]``.
    """
    delta = INTER_DISTANCES[distance]
    return frobenius(delta(student_real, teacher_real) - delta(student_syn, teacher_syn))


# ---------------------------------------------------------------- intra-model distance
def intra_fro(real: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
    """Frobenius norm of the difference over the batch, a scalar in float64.

    Two models' norms are nearly equal, and their difference is the loss: float32 would leave it half of its digits.
    """
    norm: torch.Tensor = torch.linalg.vector_norm(real - synthetic, dtype=torch.float64)
    return norm


#: of one model's feature maps (N, C, h, w) on target-domain and synthetic input
INTRA_DISTANCES: dict[str, Comparison] = {'l1': lambda real, synthetic: (real - synthetic).abs(), 'fro': intra_fro}


class _ChannelCrossEntropy(torch.autograd.Function):
    """Keeps one tensor for the backward pass, the gradient itself, where autograd would keep five of its size."""

    @staticmethod
    def forward(ctx: Any, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        target = teacher.softmax(dim=1)
        p = student.softmax(dim=1)
        shifted = p + CE_EPSILON
        rows = student.numel() // student.shape[1]
        loss = -torch.sum(target * shifted.log()) / rows
        if ctx.needs_input_grad[0]:
            # d loss / d p = -target / (p + eps) / rows, then through the softmax
            slope = target.div_(shifted).mul_(-1 / rows)
            inner = (slope * p).sum(dim=1, keepdim=True)
            ctx.save_for_backward(slope.sub_(inner).mul_(p))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, None]:
        return (ctx.saved_tensors[0] * gradient if ctx.needs_input_grad[0] else None), None


def channel_cross_entropy(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross-entropy between softmaxes over the channels of (N, C, h, w), mean over samples and positions.

    The teacher's softmax is the target, and a constant.
    """
    loss: torch.Tensor = _ChannelCrossEntropy.apply(student, teacher.detach())
    return loss


INTRA_CRITERIA: dict[str, Comparison] = {
    'ce': channel_cross_entropy,
    'l1': F.l1_loss,
    'l2': F.mse_loss,
    'fro': lambda student, teacher: frobenius(student - teacher),
}

# criteria on the signed differences: the intra distance is not used
SIGNED_CRITERIA = ('cosine', 'cosine_released')


def intra_model_loss(
    student_real: torch.Tensor,
    teacher_real: torch.Tensor,
    student_syn: torch.Tensor,
    teacher_syn: torch.Tensor,
    distance: str = 'l1',
    criterion: str = 'ce',
) -> torch.Tensor:
    """Compare the student's distance between target-domain and synthetic features with the teacher's.

    Feature maps are (N, C, h, w); target-domain and synthetic samples are paired by their position in the batch.

    Args:
        distance: a key of ``INTRA_DISTANCES``; not used by the cosine criteria.
        criterion: a key of ``INTRA_CRITERIA``; ``cosine``: 1 - mean cosine similarity (over the channels) of the
            signed differences; ``cosine_released``: the similarity itself, which the authors' code minimises.
    """
    if criterion in SIGNED_CRITERIA:
        similarity = F.cosine_similarity(student_real - student_syn, teacher_real - teacher_syn, dim=1).mean()
        return similarity if criterion == 'cosine_released' else 1 - similarity
    delta = INTRA_DISTANCES[distance]
    value = INTRA_CRITERIA[criterion](delta(student_real, student_syn), delta(teacher_real, teacher_syn))
    return value.to(student_real.dtype)


# ---------------------------------------------------------------- batch-matrix reading of the intra term
def batch_matrix_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Huber loss between the distances of all pairs of images in a batch, of two models on the same batch.

    A distance is ||F_i - F_j||_2 of feature maps (N, C, h, w), flattened and divided by sqrt(C h w). It is divided by
    the mean over the pairs (relational knowledge distillation, Park et al., CVPR 2019): only proportions count.

    Raises:
        ValueError: N < 2, which has no pair.
    """
    if len(student) < 2:
        raise ValueError(
            f'batch_matrix compares the images of a batch with each other and needs at least 2, found {len(student)}. '
            'Use batch_size_per_gpu >= 2, or intra_pairing: cross_domain.'
        )

    def proportions(features: torch.Tensor) -> torch.Tensor:
        flat = features.flatten(1)
        # each pair once; pdist's gradient is 0, not NaN, for a pair of equal images
        distances = F.pdist(flat / flat.shape[1] ** 0.5)
        return distances / distances.mean().clamp_min(torch.finfo(distances.dtype).tiny)

    return F.smooth_l1_loss(proportions(student), proportions(teacher))


# ---------------------------------------------------------------- Haar transform (supervised pixel loss)
def haar_transform(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One level of the orthonormal two-dimensional Haar transform, per channel: LL, HL, LH, HH, (N, C, H/2, W/2) each.

    Raises:
        ValueError: H or W is odd.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f'the Haar transform needs even height and width, found {tuple(x.shape[-2:])}')
    half = x / 2
    a, b = half[..., 0::2, 0::2], half[..., 1::2, 0::2]
    c, d = half[..., 0::2, 1::2], half[..., 1::2, 1::2]
    return a + b + c + d, -a - b + c + d, -a + b - c + d, a - b - c + d
