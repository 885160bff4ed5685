"""Trains the small blind-SR network (the "generalist") that `pdd demo` adapts.

    python experiments/demo_generalist/train_generalist.py --hr FOLDER --out FILE --iterations 12000

FOLDER holds HR photographs (for the shipped weights: the 200 training photographs of BSDS500). Low-resolution
inputs are made on the fly by the two-order degradation of Real-ESRGAN (Wang et al., 2021) with the parameter
ranges of its published option file, out of BasicSR's own numpy functions. Two differences from the original:
the ground truth is not sharpened (no USM), and each sample draws its own degradation (no pool of batches is
needed).

Runs on the CPU in well under an hour. The file written holds `params` and `params_ema`; it is rewritten at
every report, so that an early snapshot can be used. Every number drawn depends on `--seed` and the sample's
index only.
"""

import argparse
import math
import os
import random
import sys
import time
from pathlib import Path

import pdd_arch  # noqa: F401, isort: skip  (its shims make BasicSR importable on a current stack)
import cv2
import numpy as np
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.data import degradations as deg
from torch.utils.data import DataLoader, Dataset

SCALE = 4
MARGIN = 32  # HR pixels degraded around the crop, so that borders of blurs and resizes stay outside of it
VALIDATION_PHOTOS = 10
KERNELS = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
KERNEL_PROB = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
KERNEL_SIZES = range(7, 22, 2)
INTERPOLATIONS = [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]
FIRST = {
    'blur_sigma': [0.2, 3],
    'resize_prob': [0.2, 0.7, 0.1],  # up, down, keep
    'resize_range': [0.15, 1.5],
    'noise_range': [1, 30],
    'poisson_scale_range': [0.05, 3],
}
SECOND = {
    'blur_sigma': [0.2, 1.5],
    'resize_prob': [0.3, 0.4, 0.3],
    'resize_range': [0.3, 1.2],
    'noise_range': [1, 25],
    'poisson_scale_range': [0.05, 2.5],
}
SECOND_BLUR_PROB = 0.8
SINC_PROB = 0.1
FINAL_SINC_PROB = 0.8
GRAY_NOISE_PROB = 0.4
JPEG_RANGE = [30, 95]
NETWORK = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 32, 'num_conv': 10, 'upscale': 4, 'act_type': 'prelu'}


def _sinc_kernel(lowest_cutoff: float, size: int) -> np.ndarray:
    return deg.circular_lowpass_kernel(np.random.uniform(lowest_cutoff, np.pi), size, pad_to=False)


def _blur(img: np.ndarray, stage: dict) -> np.ndarray:
    size = random.choice(KERNEL_SIZES)
    if np.random.uniform() < SINC_PROB:
        kernel = _sinc_kernel(np.pi / 3 if size < 13 else np.pi / 5, size)
    else:
        kernel = deg.random_mixed_kernels(
            KERNELS,
            KERNEL_PROB,
            size,
            stage['blur_sigma'],
            stage['blur_sigma'],
            [-math.pi, math.pi],
            [0.5, 4],
            [1, 2],
            noise_range=None,
        )
    return cv2.filter2D(img, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def _resize(img: np.ndarray, height: float, width: float) -> np.ndarray:
    size = (max(1, int(width)), max(1, int(height)))
    return cv2.resize(img, size, interpolation=random.choice(INTERPOLATIONS))


def _resize_factor(stage: dict) -> float:
    kind = random.choices(['up', 'down', 'keep'], stage['resize_prob'])[0]
    low, high = stage['resize_range']
    return {'up': np.random.uniform(1, high), 'down': np.random.uniform(low, 1), 'keep': 1.0}[kind]


def _noise(img: np.ndarray, stage: dict) -> np.ndarray:
    img = np.clip(img, 0, 1)
    if np.random.uniform() < 0.5:
        noisy = deg.random_add_gaussian_noise(img, stage['noise_range'], gray_prob=GRAY_NOISE_PROB)
    else:
        noisy = deg.random_add_poisson_noise(img, stage['poisson_scale_range'], gray_prob=GRAY_NOISE_PROB)
    return noisy.astype(np.float32)


def _jpeg(img: np.ndarray) -> np.ndarray:
    # not random_add_jpg_compression: it passes a float quality, which OpenCV refuses
    return deg.add_jpg_compression(np.clip(img, 0, 1), int(np.random.uniform(*JPEG_RANGE)))


def degrade(hr: np.ndarray) -> np.ndarray:
    """Real-ESRGAN's two-order degradation of one image, (H, W, 3) -> (H/4, W/4, 3), float32 BGR in [0, 1].

    Draws from the global generators of `random` and `numpy.random`, as BasicSR's functions do.
    """
    height, width = hr.shape[:2]
    lr = _blur(hr, FIRST)
    factor = _resize_factor(FIRST)
    lr = _resize(lr, height * factor, width * factor)
    lr = _jpeg(_noise(lr, FIRST))

    if np.random.uniform() < SECOND_BLUR_PROB:
        lr = _blur(lr, SECOND)
    factor = _resize_factor(SECOND) / SCALE
    lr = _noise(_resize(lr, height * factor, width * factor), SECOND)

    def to_final_size(img: np.ndarray) -> np.ndarray:
        img = _resize(img, height // SCALE, width // SCALE)
        if np.random.uniform() < FINAL_SINC_PROB:
            kernel = _sinc_kernel(np.pi / 3, random.choice(KERNEL_SIZES))
            img = cv2.filter2D(img, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        return img

    lr = _jpeg(to_final_size(lr)) if np.random.uniform() < 0.5 else to_final_size(_jpeg(lr))
    return np.clip(np.round(lr * 255), 0, 255).astype(np.float32) / 255


class DegradedCrops(Dataset):
    """Endless pairs (lr, hr): sample number `i` is the same in every run with the same seed.

    Args:
        photos: decoded HR photographs, uint8 BGR.
        hr_size: side of the HR crop in pixels, a multiple of 4.
        length: number of samples.
        seed: first seed; sample `i` is drawn with `seed + i`.
    """

    def __init__(self, photos: list[np.ndarray], hr_size: int, length: int, seed: int):
        self.photos = photos
        self.hr_size = hr_size
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        random.seed(self.seed + index)
        np.random.seed(self.seed + index)
        photo = random.choice(self.photos)
        size = self.hr_size + MARGIN
        top = random.randint(0, photo.shape[0] - size)
        left = random.randint(0, photo.shape[1] - size)
        hr = photo[top : top + size, left : left + size].astype(np.float32) / 255
        if random.random() < 0.5:
            hr = hr[:, ::-1]
        if random.random() < 0.5:
            hr = hr.transpose(1, 0, 2)
        hr = np.ascontiguousarray(hr)
        lr = degrade(hr)
        inset, lr_inset = MARGIN // 2, MARGIN // 2 // SCALE
        return _tensor(lr[lr_inset:-lr_inset, lr_inset:-lr_inset]), _tensor(hr[inset:-inset, inset:-inset])


def _tensor(bgr: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1)))


def _psnr(output: torch.Tensor, target: torch.Tensor) -> float:
    """Mean PSNR in dB over a batch, RGB, 4 border pixels left out."""
    error = (output.clamp(0, 1) - target)[..., SCALE:-SCALE, SCALE:-SCALE].pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error.clamp_min(1e-10).log10()).mean())


def _load_photos(folder: Path) -> list[np.ndarray]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {'.png', '.jpg', '.jpeg'})
    photos = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths]
    unreadable = [path.name for path, photo in zip(paths, photos, strict=True) if photo is None]
    if unreadable:
        sys.exit(f'{folder}: cannot decode {", ".join(unreadable)}')
    if len(photos) <= VALIDATION_PHOTOS:
        sys.exit(f'{folder}: {len(photos)} photographs (png, jpg) found, more than {VALIDATION_PHOTOS} needed')
    return photos


def _save(path: Path, params: dict, params_ema: dict) -> None:
    temporary = path.with_name(path.name + '.part')
    torch.save({'params': params, 'params_ema': params_ema}, temporary)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--hr', type=Path, required=True, help='folder of HR photographs')
    parser.add_argument('--out', type=Path, required=True, help='checkpoint to write')
    parser.add_argument('--iterations', type=int, default=12000)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--hr-size', type=int, default=128, help='side of the HR crops in pixels')
    parser.add_argument('--lr', type=float, default=1e-3, help='highest learning rate (cosine to 1/100 of it)')
    parser.add_argument('--ema', type=float, default=0.999, help='decay of the averaged weights')
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--report', type=int, default=250, help='iterations between reports and snapshots')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    photos = _load_photos(args.hr)
    training, held_out = photos[:-VALIDATION_PHOTOS], photos[-VALIDATION_PHOTOS:]
    checks = DegradedCrops(held_out, args.hr_size, 200, seed=2**31)
    checks_lr, checks_hr = (torch.stack(t) for t in zip(*(checks[i] for i in range(len(checks))), strict=True))
    bicubic = torch.nn.functional.interpolate(checks_lr, scale_factor=SCALE, mode='bicubic')
    print(
        f'bicubic: {_psnr(bicubic, checks_hr):.3f} dB on {len(checks)} crops of held-out photographs',
        flush=True,
    )

    network = SRVGGNetCompact(**NETWORK)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(args.ema)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr, betas=(0.9, 0.99))

    def rate(iteration: int) -> float:
        rise = min(1.0, (iteration + 1) / 100)
        return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * iteration / args.iterations)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    loader = DataLoader(
        DegradedCrops(training, args.hr_size, args.iterations * args.batch, args.seed),
        args.batch,
        num_workers=args.workers,
        prefetch_factor=4 if args.workers else None,
        worker_init_fn=lambda _: cv2.setNumThreads(1),
    )
    started, running = time.time(), 0.0
    for iteration, (lr, hr) in enumerate(loader, start=1):
        optimizer.zero_grad()
        loss = torch.nn.functional.l1_loss(network(lr), hr)
        loss.backward()
        optimizer.step()
        scheduler.step()
        averaged.update_parameters(network)
        running += loss.item()
        if iteration % args.report == 0 or iteration == args.iterations:
            with torch.no_grad():
                psnr = _psnr(averaged.module(checks_lr), checks_hr)
            print(
                f'iteration {iteration}: l1 {running / args.report:.4f}, averaged weights {psnr:.3f} dB, '
                f'{time.time() - started:.0f} s',
                flush=True,
            )
            running = 0.0
            _save(args.out, network.state_dict(), averaged.module.state_dict())


if __name__ == '__main__':
    main()
