"""Plant mistakes in the training step, one at a time, and see that the oracle's trajectories notice each.

    python tests/mutate_step.py [--out FILE.md]

Not part of the suite: it runs the suite's trajectory tests (float64) once per mutation, in a copy of the package.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL, STEP, FORWARD = 'models/pdd_model.py', 'models/training_step.py', 'models/forward_pass.py'
LOSSES, SETTINGS = 'losses/functional.py', 'options/settings.py'

# (what is wrong, file, text, replacement); each text must occur exactly once
MUTATIONS = [
    (
        'warm-up compared with >=',
        STEP,
        'iteration > settings.distill_start',
        'iteration >= settings.distill_start',
    ),
    (
        'discriminator-only phase compared with >=',
        STEP,
        'iteration > settings.net_d_init_iters',
        'iteration >= settings.net_d_init_iters',
    ),
    (
        'warm-up not offset by net_d_init_iters',
        SETTINGS,
        'return self.distill_warmup_iters + self.net_d_init_iters',
        'return self.distill_warmup_iters',
    ),
    (
        'detach switched',
        STEP,
        "if self.settings.detach_synthetic and 'student_syn' in views",
        "if not self.settings.detach_synthetic and 'student_syn' in views",
    ),
    (
        'teacher outputs exchanged',
        STEP,
        'return out[n:], out[:n]',
        'return out[:n], out[n:]',
    ),
    (
        'student outputs exchanged for the adversarial term',
        STEP,
        'judged = torch.cat((forward.syn, forward.real))',
        'judged = forward.real',
    ),
    (
        'generator term on synthetic only',
        STEP,
        'judged = torch.cat((forward.syn, forward.real))',
        'judged = forward.syn',
    ),
    (
        't also shown as fake',
        STEP,
        "('fake', syn, False)",
        "('fake', [self._run(self.networks.student, torch.cat((parts[0].lq, parts[0].lq_real))).detach()], False)",
    ),
    (
        'fake from the updated generator',
        STEP,
        "('fake', syn, False)",
        "('fake', [self._run(self.networks.student, parts[0].lq).detach()], False)",
    ),
    (
        'fake before real',
        STEP,
        "(('real', [part.gt for part in parts], True), ('fake', syn, False))",
        "(('fake', syn, False), ('real', [part.gt for part in parts], True))",
    ),
    (
        'labels exchanged',
        STEP,
        "('real', [part.gt for part in parts], True), ('fake', syn, False)",
        "('real', [part.gt for part in parts], False), ('fake', syn, True)",
    ),
    ('discriminator in evaluation mode', MODEL, 'return net.train()', 'return net.eval()'),
    (
        'distillation logged but not in the total',
        STEP,
        'v / parts for k, v in found.items())',
        "v / parts for k, v in found.items() if k not in ('l_inter', 'l_intra'))",
    ),
    (
        'perceptual loss on the real half',
        STEP,
        'inputs = tuple(of_loss[image] for image in pair)',
        "inputs = of_loss.get('student_real') or of_loss['student_syn'], of_loss['target']",
    ),
    (
        'average updated before the step',
        STEP,
        '        if update_g:\n            syn = ',
        '        networks.update_average(settings.ema_decay)\n        if update_g:\n            syn = ',
    ),
    (
        'average skipped in every second iteration',
        STEP,
        'if settings.ema_decay > 0 and student_moved:',
        'if settings.ema_decay > 0 and student_moved and iteration % 2:',
    ),
    (
        'Frobenius norm per sample',
        LOSSES,
        'delta(student_syn, teacher_syn))',
        'delta(student_syn, teacher_syn), dim=(1, 2)).mean()',
    ),
    (
        'log_softmax without epsilon',
        LOSSES,
        'shifted = p + CE_EPSILON',
        'shifted = p',
    ),
    ('gradient of the cross-entropy not through the softmax', LOSSES, 'slope.sub_(inner).mul_(p)', 'slope.mul_(p)'),
    (
        'gradient of t dropped',
        FORWARD,
        'torch.zeros_like(x) if x.grad is None',
        'torch.zeros_like(x) if x is self.real',
    ),
    ('softmax target from the student', LOSSES, 'target = teacher.softmax(dim=1)', 'target = student.softmax(dim=1)'),
    ('Gram matrix divided by h w only', LOSSES, '/ (c * h * w)', '/ (h * w)'),
]


def caught(file: str, old: str, new: str) -> tuple[bool, str]:
    """Run the float64 trajectories with one mutation; whether a test failed, and which."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ('pdd_arch', 'tests'):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(ROOT / 'pyproject.toml', copy)
        target = copy / 'pdd_arch' / file
        text = target.read_text()
        if text.count(old) != 1:
            raise SystemExit(f'{file}: {old!r} occurs {text.count(old)} times, expected once; update the mutation')
        target.write_text(text.replace(old, new))
        tests = ['tests/test_trajectory_oracle.py', '-k', 'f64', '-x', '-q', '--no-header', '-p', 'no:cacheprovider']
        environment = os.environ | {'PYTHONPATH': str(copy)}
        done = subprocess.run(
            [sys.executable, '-m', 'pytest', '-n', '0', *tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith(('FAILED', 'ERROR'))]
        name = failed[0].split('::')[1].split(' ')[0] if failed else ''
        return done.returncode == 1 and bool(failed), name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', help='also write the table to this file')
    args = parser.parse_args()
    rows, missed = ['| planted mistake | first test that fails |', '|---|---|'], 0
    for what, file, old, new in MUTATIONS:
        found, name = caught(file, old, new)
        missed += not found
        rows.append(f'| {what} | {f"`{name}`" if found else "**none**"} |')
        sys.stdout.write(rows[-1] + '\n')
        sys.stdout.flush()
    if args.out:
        Path(args.out).write_text('\n'.join(rows) + '\n')
    return missed


if __name__ == '__main__':
    sys.exit(main())
