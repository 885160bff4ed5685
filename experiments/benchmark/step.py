"""Times a training step in several configurations against the obvious way to write it.

    python experiments/benchmark/step.py                                   # CPU: RRDBNet 6 blocks, batch 2 + 2, LR 32
    python experiments/benchmark/step.py --device cuda --blocks 23 --batch 8 --side 48 \\
        --configurations plain,float32,"float32 channels_last",bf16,"bf16 compiled"      # the paper's step on a GPU
    python experiments/benchmark/step.py --opt options/pdd_realsr.yml --device cuda      # of an option file

All configurations run in turns in one process, on the same batches from the same weights; ratios are taken turn by
turn, so that a machine whose speed drifts does not favour one. Peak memory on the CPU is that of a process of its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import torch
from configurations import CONFIGURATIONS, batch, build, options_of, run_options
from machine import ceilings, description, synchronise
from output import publish
from phases import measure
from work import count

WARM_UP = 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--opt', type=Path, help='option file whose networks, losses and batch are taken')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--blocks', type=int, default=6, help='of the RRDBNet')
    parser.add_argument('--batch', type=int, default=2, help='images of each domain')
    parser.add_argument('--side', type=int, default=32, help='of the LR crops')
    parser.add_argument('--configurations', default='plain,float32', help=f'of {", ".join(CONFIGURATIONS)}')
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--threads', type=int, help='of torch')
    parser.add_argument('--no-memory', action='store_true', help='CPU: do not start a process for each peak')
    parser.add_argument('-o', type=Path, help='write the result as JSON to this file, and a table beside it')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)  # the child process of a configuration
    args = parser.parse_args()
    unknown = [c for c in args.configurations.split(',') if c not in CONFIGURATIONS]
    if unknown:
        parser.error(f'unknown configuration {unknown[0]!r}; known: {", ".join(CONFIGURATIONS)}')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: this machine has no CUDA device')
    return args


def chosen_options(args: argparse.Namespace) -> dict:
    """Options of the run, and the batch and crop of an option file."""
    if args.opt is None:
        return run_options(args.blocks)
    opt = options_of(args.opt)
    train_set = opt['datasets']['train']
    args.batch, args.side = train_set['batch_size_per_gpu'], train_set['gt_size'] // opt['scale']
    opt['datasets'] = {}
    return opt


def one_step(model, data: dict, iteration: int) -> dict[str, float]:
    model.feed_data(data)
    model.optimize_parameters(iteration)
    return model.get_current_log()


def peak_memory(args: argparse.Namespace, options: dict, configuration: str) -> None:
    """Prints the growth of this process by two steps, in bytes (CPU)."""
    before = highest_memory()
    model = build(options, configuration, 'cpu')
    for i in (2, 3):
        one_step(model, batch(args.batch, args.side, options['scale'], i), i)
    sys.stdout.write(f'{highest_memory() - before}\n')


def highest_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    status = Path('/proc/self/status')
    if status.exists():  # what getrusage says here includes the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_in_child(configuration: str) -> int:
    command = [sys.executable, *sys.argv, '--memory-of', configuration]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def run(args: argparse.Namespace, options: dict) -> dict:
    """All measurements as plain data."""
    names = args.configurations.split(',')
    models = {name: build(options, name, args.device) for name in names}
    times = {name: [] for name in names}
    memory = {}
    deviations = {}
    for turn in range(WARM_UP + args.turns):
        if turn == WARM_UP:
            deviations = same_step(models, batch(args.batch, args.side, options['scale'], turn), turn + 2)
        data = batch(args.batch, args.side, options['scale'], turn)
        for name, model in models.items():
            if args.device == 'cuda':
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            synchronise(args.device)
            start = time.perf_counter()
            one_step(model, data, turn + 2)
            synchronise(args.device)
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
            if args.device == 'cuda':
                memory[name] = torch.cuda.max_memory_allocated() - held
    reference = names[0]
    rates = {d: ceilings(args.device, d) for d in ('float32', 'bf16')}
    result = {
        'machine': description(args.device),
        'step': {'opt': str(args.opt or ''), 'blocks': args.blocks, 'batch': args.batch, 'side': args.side},
        'ceilings': rates,
        'configurations': {},
    }
    for name, model in models.items():
        ratios = [a / b for a, b in zip(times[reference], times[name], strict=True)]
        data = batch(args.batch, args.side, options['scale'], 0)
        entry = {
            'seconds': statistics.median(times[name]),
            'spread': [min(times[name]), max(times[name])],
            'faster': statistics.median(ratios),
            'loss_deviation': deviations[name],
        }
        if not model.settings.compile:
            found = count(lambda model=model, data=data: one_step(model, data, 20))
            best = rates['bf16' if model.settings.precision != 'fp32' else 'float32']
            entry |= {'flops': found.flops, 'bytes': found.bytes, 'floor': found.floor(best)}
            entry['over_floor'] = entry['seconds'] / entry['floor']
        if type(model).__name__ == 'PDDModel':
            data = [batch(args.batch, args.side, options['scale'], i) for i in range(3)]
            entry['phases'] = measure(model, args.device, data, 21)
        result['configurations'][name] = entry
    del models
    for name in names:
        if args.device == 'cuda':
            result['configurations'][name]['peak_memory'] = memory[name]
        elif not args.no_memory:
            result['configurations'][name]['peak_memory'] = memory_in_child(name)
    return result


def same_step(models: dict, data: dict, iteration: int) -> dict[str, float]:
    """Largest relative deviation of a loss from the first model's, in a step from the same weights."""
    first = next(iter(models.values()))
    for model in models.values():
        for name in ('net_g', 'net_g_ema', 'net_d'):
            if getattr(model, name, None) is not None:
                getattr(model, name).load_state_dict(deepcopy(getattr(first, name).state_dict()))
    logs = {name: one_step(model, data, iteration) for name, model in models.items()}
    wanted = next(iter(logs.values()))
    return {
        name: max(abs(log[k] - v) / abs(v) for k, v in wanted.items() if k.startswith('l_'))
        for name, log in logs.items()
    }


def table(result: dict) -> str:
    """Markdown."""
    step, machine = result['step'], result['machine']
    entries = result['configurations']
    reference = next(iter(entries.values()))
    what = step['opt'] or f'RRDBNet {step["blocks"]} blocks, U-Net D, VGG19'
    lines = [
        f'{what}; batch {step["batch"]} + {step["batch"]}, LR {step["side"]}. '
        + ', '.join(f'{k} {v}' for k, v in machine.items())
        + '.',
        '',
        '| configuration | seconds (min to max) | times as fast | losses differ by | peak memory | of plain | TFLOP '
        '| over floor |',
        '|---|---|---|---|---|---|---|---|',
    ]

    def peak(entry: dict) -> str:
        if 'peak_memory' not in entry:
            return '| '
        own = entry['peak_memory']
        return f'{own / 2**20:.0f} MiB | {own / reference["peak_memory"]:.2f}'

    for name, e in entries.items():
        low, high = e['spread']
        work = f'{e["flops"] / 1e12:.3f} | {e["over_floor"]:.2f}' if 'flops' in e else '| '
        lines.append(
            f'| {name} | {e["seconds"]:.3f} ({low:.3f} to {high:.3f}) | {e["faster"]:.2f} | {e["loss_deviation"]:.0e} '
            '| '
            f'{peak(e)} | {work} |'
        )
    rates = result['ceilings']['float32']
    lines += [
        '',
        'Floor: the arithmetic alone at the best rate measured here (float32: products '
        f'{rates["matmul_flops"] / 1e9:.0f}, '
        f'convolutions {rates["conv_flops"] / 1e9:.0f} Gflop/s; copies {rates["bytes"] / 1e9:.1f} GB/s).',
    ]
    for name, e in entries.items():
        if 'phases' in e:
            total = sum(e['phases'].values())
            shares = ', '.join(f'{k} {v / total:.0%}' for k, v in sorted(e['phases'].items(), key=lambda i: -i[1]))
            lines += ['', f'Phases, {name}: {shares}.']
    return '\n'.join(lines) + '\n'


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    options = chosen_options(args)
    if args.memory_of:
        peak_memory(args, options, args.memory_of)
        return
    result = run(args, options)
    publish(result, table(result), args.o)


if __name__ == '__main__':
    main()
