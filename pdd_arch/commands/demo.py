"""`pdd demo`: adapts a small blind-SR network to a camera it has not seen, offline, on the CPU, in minutes."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from pdd_arch.commands import basicsr_cli
from pdd_arch.commands.parsers import add_subcommand, whole_number
from pdd_arch.demo import photographs
from pdd_arch.demo.photographs import SCALE
from pdd_arch.demo.picture import comparison_picture
from pdd_arch.inference.methods import bicubic_upscaler, network_upscaler
from pdd_arch.metrics.measuring import Measure, format_table, measure_methods, registered_measure, write_csv
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.output import say
from pdd_arch.utils.resources import option_file

OPTION_FILE = 'pdd_demo.yml'
EXPERIMENT_FOLDER = Path('experiments/pdd_demo')


def _piq(name: str, convert: Callable[[float], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """A measure of the package piq on (H, W, 3) uint8 BGR images, without their borders."""

    def tensor(image: np.ndarray) -> torch.Tensor:
        inner = np.ascontiguousarray(image[SCALE:-SCALE, SCALE:-SCALE, ::-1].transpose(2, 0, 1))
        return torch.from_numpy(inner).unsqueeze(0).float() / 255

    def compute(output: np.ndarray, truth: np.ndarray) -> float:
        import piq  # takes a while

        return convert(float(getattr(piq, name)(tensor(output), tensor(truth))))

    return compute


MEASURES = (
    registered_measure('PSNR', dict(type='calculate_psnr', crop_border=SCALE), decimals=2),
    registered_measure('SSIM', dict(type='calculate_ssim', crop_border=SCALE)),
    Measure('1-HaarPSI', 'lower', _piq('haarpsi', lambda similarity: 1 - similarity), 4),
    Measure('GMSD', 'lower', _piq('gmsd', float), 4),
)
FOOTNOTE = (
    'PSNR (dB) and SSIM: RGB, 4 border pixels left out. 1-HaarPSI (Reisenhofer et al., 2018) and GMSD\n'
    '(Xue et al., 2014), both from the package piq, are perceptual distances that need no trained network:\n'
    'LPIPS would need weights, and the demo downloads nothing.'
)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: the same table whatever the number of cores.

    Threads that wait for each other in these small convolutions lose more than they gain: a little on an idle
    machine with two cores, a factor of ten where something else runs as well.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def run(args: argparse.Namespace) -> int:
    """Data, adaptation, evaluation, picture and table. Returns the exit status 0; errors are raised."""
    started = time.monotonic()
    say(f'\n[1/4] Photographs: {photographs.DATA_FOLDER}/')
    origin = '' if photographs.prepare_data() else ' (of an earlier run)'
    hr, target, test = map(len, (photographs.HR_REGIONS, photographs.TARGET_REGIONS, photographs.TEST_REGIONS))
    say(f'HR photographs: {hr}; LR photographs of the unknown camera: {target}; held-out pairs: {test}{origin}')

    path = option_file(OPTION_FILE)
    options = load_options(path)
    iterations = args.iterations or options['train']['total_iter']
    overrides = ['--force_yml', f'train:total_iter={iterations}'] if args.iterations else []
    say(f'\n[2/4] Adapting the generalist for {iterations} iterations: basicsr train -opt {path}')
    basicsr_cli.main(['train', '-opt', str(path), *overrides])

    say('\n[3/4] Upscaling the held-out photographs')
    network, pretrained = options['network_g'], options['path']
    pairs = photographs.read_pairs(photographs.DATA_FOLDER)
    weights = EXPERIMENT_FOLDER / 'models/net_g_latest.pth'
    methods = {
        'bicubic': bicubic_upscaler(SCALE),
        'generalist': network_upscaler(network, pretrained['pretrain_network_g'], pretrained['param_key_g']),
        'adapted': network_upscaler(network, weights, 'params_ema'),
    }
    outputs, scores = measure_methods(pairs, methods, MEASURES)

    say('\n[4/4] Comparison picture')
    subtitle = (
        f'{iterations} iterations of pairwise distance distillation on the CPU, from {target} LR photographs without '
        'ground truth.\n'
        'All images are held out: neither network was trained on them.'
    )
    picture = EXPERIMENT_FOLDER / 'comparison.png'
    comparison_picture(pairs, outputs, scores, subtitle).save(picture, optimize=True)
    table = EXPERIMENT_FOLDER / 'comparison.csv'
    write_csv(table, scores, MEASURES)

    say('\n' + format_table(scores, MEASURES, 'mean over held-out images') + '\n\n' + FOOTNOTE)
    say(f'\nPicture: {picture}\nPer image: {table}\nWeights: {weights}')
    say(f'Finished in {time.monotonic() - started:.0f} s.')
    return 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `demo` with the `pdd` command."""
    help = 'adapt a small network to a camera it has not seen: offline, on the CPU, in a few minutes'
    more = (
        f'Uses the photographs that come with scikit-image. Writes {photographs.DATA_FOLDER}/ and {EXPERIMENT_FOLDER}/ '
        'below the current directory, and ends with a table and a picture of held-out photographs. An earlier '
        f'{EXPERIMENT_FOLDER}/ is kept under another name.'
    )
    parser = add_subcommand(subparsers, 'demo', run, help, more, 'pdd demo')
    text = f'iterations of adaptation (default: as in {OPTION_FILE})'
    parser.add_argument('--iterations', type=whole_number(), metavar='N', help=text)
