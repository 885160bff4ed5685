"""What short schedules keep of the gain of long ones, from the curves that `run.py` has measured.

python experiments/schedules/summary.py experiments/results/schedules/curves
"""

import argparse
import json
import sys
from pathlib import Path

LONG = ('long', 'long_97')
PSNR = 0


def read(folder: Path) -> tuple[dict, dict]:
    """Curves by (domain, schedule, seed), and the values before training by domain."""
    curves, starts = {}, {}
    for file in sorted(folder.glob('*.json')):
        content = json.loads(file.read_text())
        if file.stem.endswith('_start'):
            starts[file.stem.removesuffix('_start')] = content
        else:
            domain, rest = file.stem.split('_', 1)
            schedule, seed = rest.rsplit('_', 1)
            curves[domain, schedule, int(seed)] = {int(k): v for k, v in content['curve'].items()}
    return curves, starts


def of_long(curves: dict, domain: str) -> tuple[float | None, float | None]:
    """PSNR of a domain's long schedules: the best at an end, and the best of all checkpoints."""
    own = [curve for (d, schedule, _), curve in curves.items() if d == domain and schedule in LONG]
    ends = [curve[max(curve)][PSNR] for curve in own]
    return max(ends, default=None), max((v[PSNR] for curve in own for v in curve.values()), default=None)


def table(curves: dict, starts: dict) -> str:
    """Markdown: the end of every run, and its gain in PSNR against those of the long schedules."""
    text = '| domain | schedule | seed | iterations | PSNR ↑ | SSIM ↑ | feature distance ↓ | gain '
    text += '| of the best long end | of the best long checkpoint |\n'
    text += '|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n'
    for domain, start in starts.items():
        text += f'| {domain} | *before* | | 0 | {start[0]:.2f} | {start[1]:.4f} | {start[2]:.4f} | | | |\n'
        wanted = of_long(curves, domain)
        own = [(schedule, seed) for d, schedule, seed in curves if d == domain]
        for schedule, seed in sorted(own, key=lambda o: (-max(curves[(domain, *o)]), o)):
            curve = curves[domain, schedule, seed]
            last = max(curve)
            psnr, ssim, distance = curve[last]
            gain = psnr - start[PSNR]
            shares = ['' if w is None else f'{gain / (w - start[PSNR]):.0%}' for w in wanted]
            text += f'| {domain} | {schedule} | {seed} | {last} | {psnr:.2f} | {ssim:.4f} | {distance:.4f} '
            text += f'| {gain:+.2f} dB | {shares[0]} | {shares[1]} |\n'
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('curves', type=Path, help='folder with the JSON files')
    sys.stdout.write(table(*read(parser.parse_args().curves)))


if __name__ == '__main__':
    main()
