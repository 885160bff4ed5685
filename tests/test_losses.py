"""What the losses mean, beyond the reference numbers."""

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss
from helpers import SMALL_FEATURES, SMALL_LAYERS

from pdd_arch.errors import OptionError
from pdd_arch.losses import functional as F


def maps(seed, n=3, c=4, h=5, w=6):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_matrix_by_its_definition():
    x = maps(0)
    expected = torch.einsum('nihw,njhw->nij', x, x) / (4 * 5 * 6)
    torch.testing.assert_close(F.gram_matrix(x), expected)


@pytest.mark.parametrize('distance', F.INTER_DISTANCES)
def test_inter_term_grows_with_the_root_of_the_batch(distance):
    """One Frobenius norm over the whole batch: not a mean, not per sample."""
    views = [maps(i) for i in range(4)]
    once = F.inter_model_loss(*views, distance=distance)
    twice = F.inter_model_loss(*(torch.cat((v, v)) for v in views), distance=distance)
    torch.testing.assert_close(twice, once * 2**0.5)


@pytest.mark.parametrize('distance', F.INTER_DISTANCES)
def test_inter_term_is_zero_when_the_models_differ_alike(distance):
    a, b = maps(0), maps(1)
    assert F.inter_model_loss(a, b, a, b, distance=distance).item() == 0


def test_cosine_of_signed_differences():
    t, s = maps(0), maps(1)
    same = F.intra_model_loss(t, t, s, s, criterion='cosine')
    opposed = F.intra_model_loss(t, s, s, t, criterion='cosine')
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-12, rtol=0)
    torch.testing.assert_close(opposed, torch.full_like(opposed, 2.0))
    released = F.intra_model_loss(t, s, s, t, criterion='cosine_released')
    torch.testing.assert_close(released, -torch.ones_like(released))


def test_cross_entropy_by_its_definition():
    t, t_ref, s, s_ref = (maps(i) for i in range(4))
    rows = [d.permute(0, 2, 3, 1).reshape(-1, 4) for d in ((t - s).abs(), (t_ref - s_ref).abs())]
    p, q = (torch.softmax(r, 1) for r in rows)
    expected = -(q * torch.log(p + 1e-6)).sum(1).mean()
    torch.testing.assert_close(F.intra_model_loss(t, t_ref, s, s_ref), expected)


# ---------------------------------------------------------------- batch matrix
def test_batch_matrix_by_its_definition():
    student, teacher = maps(0, n=4), maps(1, n=4)

    def off_diagonal(f):
        flat = f.flatten(1) / (4 * 5 * 6) ** 0.5
        matrix = torch.stack([torch.stack([(a - b).norm() for b in flat]) for a in flat])
        values = matrix[~torch.eye(4, dtype=torch.bool)]
        return values / values.mean()

    difference = (off_diagonal(student) - off_diagonal(teacher)).abs()
    huber = torch.where(difference < 1, 0.5 * difference**2, difference - 0.5).mean()
    torch.testing.assert_close(F.batch_matrix_loss(student, teacher), huber)


def test_batch_matrix_ignores_scale_and_order_of_channels():
    x = maps(0)
    assert F.batch_matrix_loss(3 * x, x.flip(1)).item() == pytest.approx(0, abs=1e-12)


def test_batch_matrix_of_equal_images_has_finite_gradients():
    x = maps(0)
    x[1] = x[0]
    x.requires_grad_()
    F.batch_matrix_loss(x, maps(1)).backward()
    assert torch.isfinite(x.grad).all()
    same = torch.zeros(2, 4, 5, 6, requires_grad=True)
    F.batch_matrix_loss(same, torch.zeros(2, 4, 5, 6)).backward()
    assert torch.isfinite(same.grad).all()


def test_batch_matrix_of_one_image_is_an_error():
    with pytest.raises(ValueError, match=r'at least 2, found 1.*cross_domain'):
        F.batch_matrix_loss(maps(0, n=1), maps(1, n=1))


@pytest.mark.parametrize('domains', ['real', 'both'])
def test_batch_matrix_loss_trains_the_student_only(domains):
    loss = build_loss(
        dict(
            type='PairwiseDistanceLoss',
            inter_weight=0,
            intra_layers=SMALL_LAYERS,
            intra_pairing='batch_matrix',
            batch_matrix_domains=domains,
            feature_net=SMALL_FEATURES,
        )
    )
    views = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in range(4)]
    inter, intra = loss(*views)
    assert inter is None
    if domains == 'real':  # two images have one distance, whose proportion to the mean is always 1
        assert intra.item() == 0
        return
    intra.backward()
    assert views[0].grad.abs().sum() > 0
    assert views[2].grad.abs().sum() > 0
    assert views[1].grad is None
    assert views[3].grad is None


# ---------------------------------------------------------------- wavelet
def test_haar_keeps_energy_and_separates_bands():
    x = maps(0, h=6, w=8)
    bands = F.haar_transform(x)
    torch.testing.assert_close(sum((b**2).sum() for b in bands), (x**2).sum())
    ll, *others = F.haar_transform(torch.ones(1, 1, 4, 4))
    assert torch.equal(ll, torch.full((1, 1, 2, 2), 2.0))
    assert all(not b.any() for b in others)


def test_haar_of_odd_size():
    with pytest.raises(ValueError, match='even height and width'):
        F.haar_transform(torch.zeros(1, 1, 3, 4))


# ---------------------------------------------------------------- registered classes
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(inter_distance='gramm'), r"inter_distance: unknown value 'gramm'.*Did you mean 'gram'"),
        (dict(intra_distance='fro'), r"intra_criterion: 'ce' takes a softmax over channels"),
        (dict(inter_layers={}), r'inter_layers: empty'),
        (dict(inter_layers=['conv1_1']), r'inter_layers: expected a mapping'),
        (dict(intra_layers={'conv1_1': True}), r'intra_layers\.conv1_1: expected a number'),
    ],
)
def test_distance_loss_refuses(options, message):
    with pytest.raises(OptionError, match=message):
        build_loss(dict(type='PairwiseDistanceLoss', **options))


def test_distance_loss_without_feature_net_says_so():
    loss = build_loss(dict(type='PairwiseDistanceLoss'))
    with pytest.raises(OptionError, match='has no feature_net'):
        loss(*[torch.zeros(1, 3, 8, 8)] * 4)


def test_terms_of_weight_zero_are_not_computed():
    loss = build_loss(dict(type='PairwiseDistanceLoss', inter_weight=0, intra_weight=0, feature_net=SMALL_FEATURES))
    assert loss(*[torch.zeros(1, 3, 8, 8)] * 4) == (None, None)


@pytest.mark.parametrize('kind', ['FeatureDistillationLoss', 'ContrastiveDistillationLoss', 'OutputDistillationLoss'])
def test_baselines_reach_the_student_only(kind):
    options = {} if kind == 'OutputDistillationLoss' else dict(layers=SMALL_LAYERS, feature_net=SMALL_FEATURES)
    loss = build_loss(dict(type=kind, **options))
    student = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_contrastive_loss_prefers_the_right_partner():
    loss = build_loss(dict(type='ContrastiveDistillationLoss', layers=SMALL_LAYERS, feature_net=SMALL_FEATURES))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.3, 0.6, 1.0]).view(
        3, 1, 1, 1
    )
    assert loss(images, images) < loss(images, images.roll(1, 0))
    with pytest.raises(ValueError, match='at least 2 images, found 1'):
        loss(images[:1], images[:1])


# ---------------------------------------------------------------- colour correction
@pytest.mark.parametrize('precision', ['f32', 'f64'])
def test_color_correction_oracle(recipes, precision):
    from pathlib import Path

    from basicsr.utils import tensor2img

    from pdd_arch.utils.color import match_color

    fixtures = np.load(Path(__file__).parent / 'oracle' / 'data.npz')
    dtype = torch.float32 if precision == 'f32' else torch.float64
    lr, hr = (torch.from_numpy(a).to(dtype) for a in recipes.color_inputs())
    out = match_color(hr, lr)
    tolerance = 1e-5 if precision == 'f32' else 1e-9
    norm, total, _ = recipes.grad_summary(out.numpy())
    assert norm == pytest.approx(float(fixtures[f'color/{precision}/norm']), rel=tolerance)
    assert total == pytest.approx(float(fixtures[f'color/{precision}/sum']), rel=tolerance)
    np.testing.assert_allclose(
        out.mean((2, 3)).numpy(), fixtures[f'color/{precision}/mean_per_channel'].reshape(2, 3), rtol=tolerance
    )
    stored = fixtures[f'color/{precision}/sample']
    strides = [s for s in range(1, 400) if len(out.flatten()[::s]) == len(stored)]
    assert any(np.allclose(out.flatten()[::s].numpy(), stored, rtol=tolerance, atol=tolerance) for s in strides)
    if precision == 'f32':
        assert np.array_equal(tensor2img(out[0]), fixtures['color/u8_first_image'])


def test_color_correction_of_a_constant_channel():
    from pdd_arch.utils.color import match_color

    out = match_color(torch.ones(1, 3, 8, 8), torch.full((1, 3, 2, 2), 0.25))
    torch.testing.assert_close(out, torch.full((1, 3, 8, 8), 0.25))
