"""How far two processes, and a batch in two parts, are from one process with the whole batch.

    python experiments/distributed/equality.py [-o FILE]

For every distance and criterion a small run (the cases of tests/test_distributed.py): its first iteration, from the
same weights and with a static teacher, and three iterations, where the weights differ by rounding already. Beside them,
how far float32 itself is from float64 for one process: no split can be nearer than that.
"""

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests'))

import test_distributed as cases  # noqa: E402

import pdd_arch  # noqa: E402, F401  (before basicsr)

SCALES = ('l_inter', 'l_intra', 'l_distill', 'l_g_pix', 'l_g_percep', 'l_g_style', 'l_g_gan', 'l_d_real', 'l_d_fake')


def deviation(found: dict, wanted: dict) -> tuple[float, str, float]:
    """Largest relative deviation of a loss, that loss, and the relative deviation of all weights together."""
    worst, name = 0.0, ''
    for a, b in zip(found['losses'], wanted['losses'], strict=True):
        for key in SCALES:
            if key in b and abs(a[key] - b[key]) / abs(b[key]) > worst:
                worst, name = abs(a[key] - b[key]) / abs(b[key]), key
    mine, theirs = (
        torch.cat([run['weights'][k].double().flatten() for k in wanted['weights']]) for run in (found, wanted)
    )
    return worst, name, float((mine - theirs).norm() / theirs.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('-o', type=Path, help='Markdown file (default: standard output)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    jobs = {case: cases.case_options(case) for case in cases.CASES}
    parts = {case: cases.case_options(case, train=dict(accumulate=2)) for case in cases.CASES}
    two = {}
    for dtype in (torch.float64, torch.float32):
        with tempfile.TemporaryDirectory() as folder:
            two[dtype] = cases.train_in_two(jobs, Path(folder), dtype)

    with tempfile.TemporaryDirectory() as folder:
        first = {case: cases.same_weights_options(case) for case in cases.CASES}
        first_two = cases.train_in_two(first, Path(folder), torch.float32)

    rows = []
    for case in cases.CASES:
        one = {dtype: cases.train(jobs[case], dtype=dtype) for dtype in two}
        cells = [case]
        found = deviation(first_two[case][0], cases.train(first[case], dtype=torch.float32))
        cells.append(f'{found[0]:.0e} ({found[1]}), {found[2]:.0e}')
        for dtype in two:
            split = cases.train(parts[case], dtype=dtype)
            for found in (two[dtype][case][0], split):
                loss, name, weights = deviation(found, one[dtype])
                cells.append(f'{loss:.0e} ({name}), {weights:.0e}')
        loss, name, weights = deviation(one[torch.float32], one[torch.float64])
        cells.append(f'{loss:.0e} ({name}), {weights:.0e}')
        rows.append('| ' + ' | '.join(cells) + ' |')
        sys.stderr.write(rows[-1] + '\n')
    torch.set_default_dtype(torch.float32)

    versions = f'Python {platform.python_version()}, torch {torch.__version__}, CPU, one thread a process, gloo'
    table = [
        '| case | float32, first iteration | float64, three | in two parts | float32, three | in two parts '
        '| one process, float32 against float64 |',
        '|---|---|---|---|---|---|---|',
        *rows,
    ]
    text = (
        '\n'.join(table) + f'\n\n{versions}. Each cell: largest relative deviation of a loss (which), of all weights.\n'
    )
    if args.o:
        args.o.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == '__main__':
    main()
