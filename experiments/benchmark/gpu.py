"""Everything that a GPU has to show, in one command: the paper's step, its curves, data, precision and inference.

    python experiments/benchmark/gpu.py -o FOLDER
    python experiments/benchmark/gpu.py -o FOLDER --dry-run     # tiny sizes on the CPU: does every script run?

Each measurement is a script of this folder with the sizes of the paper; its JSON and table go to FOLDER. One that
fails does not stop the others, and makes the exit status 1. `--run FOLDER` also adapts in float32 and in bf16 on the
photographs below that folder (see `experiments/schedules/run.py`), the one measurement that needs data.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIGURATIONS = (
    'plain,float32,float32 channels_last,float32 recompute,bf16,bf16 recompute,bf16 compiled,bf16 graphs,fp16'
)


#: sizes of the paper's run, and sizes with which a CPU sees in seconds whether a script works
FLAGS = {
    'step': (
        f'--device cuda --blocks 23 --batch 8 --side 48 --turns 10 --configurations "{CONFIGURATIONS}"',
        '--blocks 1 --batch 1 --side 8 --turns 1 --no-memory --configurations plain,float32',
    ),
    'curves': (
        '--device cuda --blocks 23 --batch 8 --side 48 --batches 1,2,4,8,16 --sides 24,32,48,64,96',
        '--blocks 1 --batch 1 --side 8 --batches 1 --sides 8 --layers 2 --turns 1',
    ),
    'data': ('', '--count 2 --batch 2 --batches 2 --turns 1'),
    'precision': (
        '--device cuda --blocks 23 --size 8 --side 48 --steps 20,200',
        '--blocks 1 --size 1 --side 8 --batches 1 --steps 3 --kinds float32,bf16',
    ),
    'inference': (
        '--device cuda --methods "RealESRGANer,RealESRGANer half,fp32,fp16,bf16,fp16 batch4,fp16 compiled"',
        '--blocks 1 --features 8 --size 40x30 --tile 16 --overlap 4 --turns 1 --overlaps 0,4 --overlap-tile 8 '
        '--large-turns 0',
    ),
}


def commands(out: Path, dry: bool, data: Path | None) -> dict[str, list[str]]:
    """Name of a measurement -> script and flags."""
    found = {
        name: [f'{name}.py', *shlex.split(flags[dry]), '-o', str(out / f'{name}.json')] for name, flags in FLAGS.items()
    }
    if data is not None:
        flags = '--domains phone --seeds 0,1,2 --schedules fast10,fast10_bf16'
        found['adaptation'] = [
            '../schedules/run.py',
            *shlex.split(flags),
            *('--data', str(data), '--out', str(out / 'adaptation')),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('-o', type=Path, required=True, help='folder of the results')
    parser.add_argument('--dry-run', action='store_true', help='tiny sizes on the CPU')
    parser.add_argument('--run', type=Path, help='folder with datasets/ and experiments/: adapts there too')
    parser.add_argument('--only', help='names of measurements, separated by commas')
    args = parser.parse_args()
    out = args.o.resolve()
    out.mkdir(parents=True, exist_ok=True)
    todo = commands(out, args.dry_run, args.run)
    chosen = args.only.split(',') if args.only else list(todo)
    if unknown := set(chosen) - set(todo):
        parser.error(f'unknown measurement {sorted(unknown)[0]!r}; known: {", ".join(todo)}')
    failed = []
    for name in chosen:
        script, *flags = todo[name]
        if name == 'data' and (out / 'step.json').exists():
            # share of the fastest step spent waiting
            steps = json.loads((out / 'step.json').read_text())['configurations'].values()
            flags += ['--step-time', str(min(step['seconds'] for step in steps))]
        sys.stdout.write(f'== {name}: {script} {" ".join(flags)}\n')
        sys.stdout.flush()
        if subprocess.run([sys.executable, str(HERE / script), *flags]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f'failed: {", ".join(failed)}')


if __name__ == '__main__':
    main()
