"""What half precision does to the gradient of each term, against float64.

    python experiments/benchmark/precision.py                               # random networks
    python experiments/benchmark/precision.py --opt options/pdd_city100.yml --data FOLDER --steps 20,200

With an option file the networks, weights and photographs are the run's own, and FOLDER is where its paths start. The
student is trained for `steps` iterations in float32, so that it differs from its average as it does in a run; then
the gradient of every term with regard to the student's outputs s and t is taken in each precision on the same
batches.
"""

import argparse
import os
import statistics
from copy import deepcopy
from pathlib import Path

import torch
from configurations import batch, run_options
from machine import description
from output import publish
from torch.utils.data import DataLoader

from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.models import PDDModel
from pdd_arch.models.forward_pass import Batch
from pdd_arch.options.yaml_file import load_options

#: precision of student and teacher, and of the feature network; None: as the others
KINDS = {
    'float32': ('fp32', None),
    'bf16': ('bf16', 'bf16'),
    'bf16 features float32': ('bf16', 'fp32'),
    'float32 features bf16': ('fp32', 'bf16'),
    'fp16': ('fp16', 'fp16'),
    'fp16 features float32': ('fp16', 'fp32'),
}
TERMS = ('l_inter', 'l_intra', 'l_g_pix', 'l_g_percep')


def batches(opt: dict, count: int, size: int, side: int) -> list[dict]:
    """Of the option file's photographs, or of noise."""
    if not opt['datasets']:
        return [batch(size, side, opt['scale'], i) for i in range(count)]
    train = opt['datasets']['train']
    dataset = UnpairedAdaptationDataset({**train, 'phase': 'train', 'scale': opt['scale']})
    torch.manual_seed(1)
    loader = DataLoader(dataset, batch_size=train['batch_size_per_gpu'], shuffle=True)
    return [next(iter(loader)) for _ in range(count)]


def gradients(model: PDDModel, data: dict, networks: str, features: str | None) -> dict[str, torch.Tensor]:
    """Gradient of each term with regard to s and t, which have the values of this precision's forward pass."""
    found = {}
    step, losses = model.training_step, model.losses
    settings = step.settings
    model.feed_data(data)
    part = Batch(model.lq, model.gt, model.lq_real)
    for term in TERMS:
        step.settings = replace_precision(settings, networks)
        forward = step._forward(part, True)
        step.settings = replace_precision(settings, features or networks)
        # the constants again, in the feature network's own precision
        constants = {
            'teacher_real': forward.compared.teacher_real,
            'teacher_syn': forward.compared.teacher_syn,
            'target': part.gt,
        }
        forward.constants.update(step._extract(constants, True))
        known = step._features(forward)
        compared = step._views(losses.distillation, forward.compared, known)
        terms = dict(losses.distillation.terms(*compared))
        terms['l_g_pix'] = losses.pixel(forward.syn, forward.target)
        terms.update(losses.perceptual.terms(known['student_syn'], known['target']))
        terms[term].backward()
        found[term] = forward.output_gradient.double()
    step.settings = settings
    return found


def replace_precision(settings: object, precision: str) -> object:
    changed = deepcopy(settings)
    object.__setattr__(changed, 'precision', precision)
    object.__setattr__(changed, 'recompute', True)  # no graph of S: gradients end at its outputs
    return changed


def compare(found: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    """Relative deviation and cosine."""
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    return ((found - wanted).norm() / wanted.norm()).item(), cosine.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--opt', type=Path, help='option file whose networks, weights and photographs are taken')
    parser.add_argument('--data', type=Path, help='folder where its paths start')
    parser.add_argument('--steps', type=lambda t: [int(n) for n in t.split(',')], default=[20])
    parser.add_argument('--batches', type=int, default=3)
    parser.add_argument('--size', type=int, default=2)
    parser.add_argument('--side', type=int, default=32)
    parser.add_argument('--blocks', type=int, default=2)
    parser.add_argument('--decay', type=float, default=0.999)
    parser.add_argument('--kinds', type=lambda t: t.split(','), default=list(KINDS), help='of those in KINDS')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('-o', type=Path)
    args = parser.parse_args()
    target = args.o and args.o.resolve()
    if args.opt:
        opt = load_options(args.opt)
        os.chdir(args.data or '.')
    else:
        opt = run_options(args.blocks)
    opt |= dict(name='precision', is_train=True, dist=False, rank=0, world_size=1, manual_seed=0)
    opt['num_gpu'] = 0 if args.device == 'cpu' else 1
    opt['train'] |= dict(ema_decay=args.decay)
    torch.manual_seed(0)
    model = PDDModel(opt)
    start, done = model.settings.net_d_init_iters, 0
    train = batches(opt, max(args.steps), args.size, args.side)
    probes = batches(opt, args.batches, args.size, args.side)
    result = {'machine': description(args.device), 'opt': str(args.opt or ''), 'decay': args.decay, 'after': {}}
    for steps in args.steps:
        for i in range(done, steps):
            model.feed_data(train[i])
            model.optimize_parameters(start + i + 1)
        done = steps
        exact = PDDModel(opt)
        for net in ('net_g', 'net_g_ema', 'feature_net'):
            getattr(exact, net).load_state_dict(getattr(model, net).state_dict())
            getattr(exact, net).double()
        rows = {kind: {term: [] for term in TERMS} for kind in args.kinds}
        for data in probes:
            double = {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in data.items()}
            wanted = gradients(exact, double, 'fp32', None)
            for kind in args.kinds:
                for term, value in gradients(model, data, *KINDS[kind]).items():
                    rows[kind][term].append(compare(value, wanted[term]))
        del exact
        result['after'][steps] = {
            kind: {term: [statistics.median(x) for x in zip(*values, strict=True)] for term, values in terms.items()}
            for kind, terms in rows.items()
        }
    publish(result, table(result), target)


def table(result: dict) -> str:
    """Markdown."""
    text = ''
    for steps, rows in result['after'].items():
        text += f'After {steps} iterations, deviation of the gradient from float64 (cosine):\n\n'
        text += '| precision | ' + ' | '.join(TERMS) + ' |\n|---|' + '---|' * len(TERMS) + '\n'
        for kind, terms in rows.items():
            cells = [f'{deviation:.1e} ({cosine:.4f})' for deviation, cosine in terms.values()]
            text += f'| {kind} | ' + ' | '.join(cells) + ' |\n'
        text += '\n'
    return text


if __name__ == '__main__':
    main()
