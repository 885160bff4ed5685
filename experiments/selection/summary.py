"""Regret of each signal as a choice of checkpoint, from what `run.py` has measured.

python experiments/selection/summary.py experiments/results/selection
"""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from pdd_arch.selection import Signals, choose

#: signals of which less is better
LOWER = ('simulated_distance', 'inter', 'intra', 'niqe')


def picks(checkpoints: dict[int, dict]) -> dict[str, int]:
    """Rule -> the iteration that it picks; the generalist itself (iteration 0) cannot be picked."""
    signals = {k: Signals(**c['signals']) for k, c in checkpoints.items() if k}
    chosen = {'pdd adapt': choose(signals).key, 'the last one': max(signals)}
    for name in (field.name for field in fields(Signals)):
        if any(getattr(s, name) is None for s in signals.values()):
            continue
        sign = -1 if name in LOWER else 1
        chosen[name] = max(signals, key=lambda k: sign * getattr(signals[k], name))
    return chosen


def table(domains: dict[str, dict[int, dict]]) -> str:
    """Markdown: by rule and domain, how many dB the pick is behind the best checkpoint, and its iteration."""
    text = '| rule | ' + ' | '.join(domains) + ' | worst |\n|---|' + '---:|' * (len(domains) + 1) + '\n'
    best = {d: max(c['truth']['psnr'] for k, c in found.items() if k) for d, found in domains.items()}
    for rule in picks(next(iter(domains.values()))):
        chosen = {d: picks(found)[rule] for d, found in domains.items()}
        regret = {d: best[d] - domains[d][k]['truth']['psnr'] for d, k in chosen.items()}
        cells = [f'{regret[d]:.2f} ({chosen[d]})' for d in domains]
        text += f'| {rule} | ' + ' | '.join(cells) + f' | {max(regret.values()):.2f} |\n'
    return text


def curves(domains: dict[str, dict[int, dict]]) -> str:
    """Markdown: PSNR and SSIM with ground truth of the generalist, of the pick and of the best checkpoint."""
    text = '| domain | generalist | picked | best |\n|---|---|---|---|\n'
    for domain, found in domains.items():
        truth = {k: c['truth'] for k, c in found.items()}
        shown = (0, picks(found)['pdd adapt'], max((k for k in truth if k), key=lambda k: truth[k]['psnr']))
        cells = [f'{truth[k]["psnr"]:.2f} dB, {truth[k]["ssim"]:.4f} ({k})' for k in shown]
        text += f'| {domain} | ' + ' | '.join(cells) + ' |\n'
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('results', type=Path, help='folder with the JSON files')
    files = sorted(parser.parse_args().results.glob('*.json'))
    contents = {f.stem: json.loads(f.read_text())['checkpoints'] for f in files}
    domains = {d: {int(k): v for k, v in c.items()} for d, c in contents.items()}
    sys.stdout.write(table(domains) + '\n' + curves(domains))


if __name__ == '__main__':
    main()
