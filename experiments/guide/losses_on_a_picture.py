# %% [markdown]
# # The losses, on a picture
#
#     python experiments/guide/losses_on_a_picture.py --out losses
#     python experiments/guide/losses_on_a_picture.py --out losses --weights squeezenet1_0-b66bff10.pth
#
# A walk through the inter-model and the intra-model distance on two parts of one photograph: what goes in, what comes
# out, and what each step in between looks like. It takes less than a minute on a CPU and needs no download. Cells begin
# with `# %%`, so that editors (VS Code, Jupytext) open this file as a notebook.
#
# Notation, as in the paper: S student (trained), G generalist (not trained); s, t = S(x_s), S(x_t); s', t' = G(x_s),
# G(x_t), where x_s is synthetic LR input with a ground truth and x_t a photograph of the camera, without.

# %%
import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage import data

import pdd_arch  # noqa: F401  (before basicsr)
from pdd_arch.degradations.lr_synthesis import synthesise_lr
from pdd_arch.demo.photographs import Camera
from pdd_arch.features import FeatureNet
from pdd_arch.inference import load_network
from pdd_arch.losses import HaarWaveletLoss, PairwiseDistanceLoss
from pdd_arch.losses import functional as F

parser = argparse.ArgumentParser(description='Draws the steps of pairwise distance distillation.')
parser.add_argument('--out', type=Path, default=Path('losses'), help='folder for the pictures (default: losses)')
parser.add_argument(
    '--weights', default='random', help="torchvision's weights of SqueezeNet 1.0 (default: random ones)"
)
parser.add_argument('--steps', type=int, default=30, help='that the student is trained for first (default: 30)')
# an editor's kernel has arguments of its own
args = parser.parse_args([] if 'ipykernel' in sys.modules else None)
args.out.mkdir(parents=True, exist_ok=True)
SCALE, SIDE = 4, 224
INTER_LAYERS = {'features.3': 0.25, 'features.7': 0.25, 'features.12': 0.25}
INTRA_LAYERS = {'features.5': 0.3, 'features.10': 1.0, 'features.12': 1.0}
if args.weights == 'random':
    print(
        '\n*** THE FEATURES ARE THOSE OF AN UNTRAINED, RANDOM NETWORK. The arithmetic below is that of training;'
        '\n*** the values mean little. Trained features: --weights FILE (torchvision, SqueezeNet 1.0, ImageNet).'
    )


# %% [markdown]
# Drawing: a row of pictures with captions.


# %%
def as_image(x: torch.Tensor) -> np.ndarray:
    """(1, 3, h, w) RGB in [0, 1] -> (h, w, 3) uint8 RGB."""
    return x[0].detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()


def as_heat(x: torch.Tensor, largest: float | None = None) -> np.ndarray:
    """A map (h, w) in colours; 0 is dark, `largest` (by default its maximum) is bright."""
    values = x.detach().abs().double().numpy()
    values = values / max(largest or values.max(), 1e-12)
    return cv2.applyColorMap((values.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]


def draw(name: str, rows: list[list[tuple[str, np.ndarray]]], cell: int = 224) -> None:
    """Write rows of captioned pictures as a PNG."""
    gap, line, font = 10, 26, ImageFont.load_default(14)
    width = max(len(row) for row in rows) * (cell + gap) + gap
    page = Image.new('RGB', (width, len(rows) * (cell + line + gap) + gap), 'white')
    pen = ImageDraw.Draw(page)
    for i, row in enumerate(rows):
        for k, (caption, picture) in enumerate(row):
            left, top = gap + k * (cell + gap), gap + i * (cell + line + gap)
            shown = Image.fromarray(np.ascontiguousarray(picture))
            page.paste(shown.resize((cell, cell), Image.Resampling.NEAREST), (left, top))
            pen.text((left, top + cell + 4), caption, 'black', font)
    page.save(args.out / f'{name}.png', optimize=True)
    print(f'  drawn: {args.out / name}.png')


def tensor(image: np.ndarray) -> torch.Tensor:
    """(h, w, 3) uint8 RGB -> (1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).unsqueeze(0).float() / 255


# %% [markdown]
# ## 1. What goes in
# Two parts of one photograph. The left one is an HR image, y_s: its reduction x_s is *synthetic* LR. Of the right one
# only what a camera made of it is known, x_t: *real* LR, with blur, noise and JPEG.

# %%
photograph = data.astronaut()
y_s = photograph[:SIDE, :SIDE]
scene = photograph[:SIDE, SIDE : 2 * SIDE]
x_s = tensor(np.rint(synthesise_lr(y_s.astype(np.float32) / 255, SCALE, 'bicubic') * 255).astype(np.uint8))
x_t = tensor(Camera().photograph(scene[..., ::-1].copy(), seed=0)[..., ::-1].copy())
y_s = tensor(y_s)
print(f'\n1. y_s {tuple(y_s.shape)}, x_s and x_t {tuple(x_t.shape)}')
draw('1_input', [[('HR y_s', as_image(y_s)), ('synthetic LR x_s', as_image(x_s)), ('real LR x_t', as_image(x_t))]])

# %% [markdown]
# ## 2. Generalist and student
# Both begin as the same network, the small one of `pdd demo`. The generalist stays. So that there is something to see,
# the student is trained for some steps on the synthetic pair alone, which is what adaptation does *without*
# distillation: it learns that LR images are clean.

# %%
generalist = load_network('bundled:demo_generalist.pth').net
student = load_network('bundled:demo_generalist.pth').net.requires_grad_(True)
optimizer = torch.optim.Adam(student.parameters(), lr=2e-4)
supervised = HaarWaveletLoss(weights=(1, 0.1, 0.01))
for _ in range(args.steps):
    optimizer.zero_grad()
    supervised(student(x_s), y_s).backward()
    optimizer.step()
student.requires_grad_(False)
with torch.no_grad():
    s1, t1 = generalist(x_s), generalist(x_t)  # s', t'
    s, t = student(x_s), student(x_t)
print(
    f"2. mean change of the output in {args.steps} steps, of 255: |s - s'| {255 * (s - s1).abs().mean():.3f}, ", end=''
)
print(
    f"|t - t'| {255 * (t - t1).abs().mean():.3f}; supervised loss {supervised(s1, y_s):.4f} -> {supervised(s, y_s):.4f}"
)
change = max(float((s - s1).abs().max()), float((t - t1).abs().max()))
draw(
    '2_outputs',
    [
        [
            ("s' = G(x_s)", as_image(s1)),
            ('s = S(x_s)', as_image(s)),
            ("|s - s'|", as_heat((s - s1)[0].mean(0), change)),
        ],
        [
            ("t' = G(x_t)", as_image(t1)),
            ('t = S(x_t)', as_image(t)),
            ("|t - t'|", as_heat((t - t1)[0].mean(0), change)),
        ],
    ],
)

# %% [markdown]
# ## 3. Feature maps
# Both distances compare features f_k of a frozen network, layer by layer. Shown: the four channels of each layer that
# vary most.

# %%
layers = tuple(dict.fromkeys((*INTER_LAYERS, *INTRA_LAYERS)))
# values of VGG19's order, for which the weights of the losses are meant (options/pdd_city100.yml)
factor = {} if args.weights == 'random' else {'feature_scale': 1 / 18}
net = FeatureNet(layers, type='squeezenet1_0', weights=args.weights, **factor)
with torch.no_grad():
    f_s, f_t, f_s1, f_t1 = net(s), net(t), net(s1), net(t1)
kind = 'RANDOM features' if args.weights == 'random' else 'trained features'
print(f'3. {kind}: ' + ', '.join(f'{k} {tuple(v.shape[1:])}' for k, v in f_t.items()))
rows = []
for layer in INTER_LAYERS:
    channels = f_t[layer][0].std((1, 2)).argsort(descending=True)[:4].tolist()
    rows.append([(f't: {layer}, channel {c}', as_heat(f_t[layer][0, c])) for c in channels])
draw('3_features', rows, cell=160)

# %% [markdown]
# ## 4. Inter-model distance
# How the student differs from the generalist, as a Gram matrix: which channels change *together*, wherever in the
# image. On real input the student may differ as it does on synthetic input, where it is supervised:
#
#     L_inter = sum_k lambda_k || Gram(f_k(t) - f_k(t')) - Gram(f_k(s) - f_k(s')) ||_F

# %%
rows, inter, most, gram_change = [], 0.0, 64, F.INTER_DISTANCES['gram_change']
print('4. inter-model:  layer        |Gram real|  |Gram synthetic|  |difference|  weight')
for layer, weight in INTER_LAYERS.items():
    real, synthetic = (gram_change(a[layer], b[layer]) for a, b in ((f_t, f_t1), (f_s, f_s1)))
    distance = torch.linalg.vector_norm(real - synthetic)
    assert torch.isclose(distance, F.inter_model_loss(f_t[layer], f_t1[layer], f_s[layer], f_s1[layer]))
    inter += weight * distance
    print(f'                 {layer:<12} {real.norm():11.3e}  {synthetic.norm():16.3e}  {distance:12.3e}  {weight}')
    largest = max(float(real[0, :most, :most].abs().max()), float(synthetic[0, :most, :most].abs().max()))
    maps = (("t - t'", real), ("s - s'", synthetic), ('their difference', real - synthetic))
    rows.append([(f'{layer}: {what}', as_heat(m[0, :most, :most], largest)) for what, m in maps])
print(f'   L_inter = {inter:.3e}')
draw('4_gram_matrices', rows, cell=190)

# %% [markdown]
# ## 5. Intra-model distance
# How far real is from synthetic *within* one model, as a distribution over the channels at each position:
# softmax |f_k(t') - f_k(s')| for the generalist, softmax |f_k(t) - f_k(s)| for the student. The student should
# tell real from synthetic as the generalist does. The cross-entropy with the generalist's distribution does not become
# smaller than that distribution's own; only what exceeds it can be learned away: the column "excess".

# %%
rows, intra, intra_l1 = [], 0.0, F.INTRA_DISTANCES['l1']
print('5. intra-model:  layer        cross-entropy  of G with itself       excess  weight')
for layer, weight in INTRA_LAYERS.items():
    ours, theirs = (intra_l1(a[layer], b[layer]) for a, b in ((f_t, f_s), (f_t1, f_s1)))
    value, least = F.channel_cross_entropy(ours, theirs), F.channel_cross_entropy(theirs, theirs)
    intra += weight * value
    print(f'                 {layer:<12} {value:13.6f}  {least:16.6f}  {value - least:11.3e}  {weight}')
    p, q = ours.softmax(1)[0], theirs.softmax(1)[0]
    channel = int(q.mean((1, 2)).argmax())
    largest = float(torch.maximum(p, q)[channel].max())
    cells = [(f'G: {layer}, channel {channel}', as_heat(q[channel], largest)), ('S', as_heat(p[channel], largest))]
    rows.append([*cells, ('all channels: |S - G|', as_heat((p - q).abs().sum(0)))])
print(f'   L_intra = {intra:.6f}')
draw('5_softmax', rows, cell=190)

# %% [markdown]
# ## 6. The same, as training computes it, and what it asks of the image
# `PairwiseDistanceLoss` gives the same two numbers. Their gradient with regard to the student's output t says where
# each of them wants it changed.

# %%
loss = PairwiseDistanceLoss(INTER_LAYERS, INTRA_LAYERS, feature_net=net)
t.requires_grad_(True)
terms = loss.compute(t, t1, s, s1)
assert torch.isclose(terms['l_inter'], inter, rtol=1e-3)
assert torch.isclose(terms['l_intra'], intra, rtol=1e-3)
row = []
for name, value in terms.items():
    (gradient,) = torch.autograd.grad(value, t, retain_graph=True)
    print(f'6. {name} = {value:.6g}, norm of its gradient at t: {gradient.norm():.3e}')
    row.append((f'gradient of {name} at t', as_heat(gradient[0].mean(0))))
draw('6_gradients', [[('t', as_image(t)), *row]])
print(f'   supervised (Haar, on the synthetic pair): {supervised(s, y_s):.6f}. Training adds a perceptual loss to it.')
