"""Training runs in child processes, to be killed, signalled and compared."""

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path

import torch
import yaml
from helpers import TINY_G, merge, options, release_logger, run_options

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.models import PDDModel

# a forked child has torch loaded already and starts in a tenth of a second
_fork = multiprocessing.get_context('fork')

LOSSES = 'losses.jsonl'


def resumable_options(teacher: str, with_d: bool, workers: int, **changes) -> dict:
    """Twelve iterations over four short epochs, a state every second one, a validation every third."""
    full = options()
    opt = run_options(
        datasets=dict(train=dict(num_worker_per_gpu=workers, dataset_enlarge_ratio=3)),
        train=dict(total_iter=12, scheduler=dict(milestones=[4, 9])),
        val=dict(val_freq=3),
        logger=dict(save_checkpoint_freq=2),
    )
    if with_d:
        gan = {k: full['train'][k] for k in ('gan_opt', 'optim_d')}
        opt = merge(opt, dict(network_d=full['network_d'], train=dict(net_d_init_iters=2, **gan)))
    if teacher == 'static':
        static = dict(teacher='static', distill_warmup_iters=0, detach_synthetic=True)
        path = dict(pretrain_network_teacher='teacher.pth')
        opt = merge(opt, dict(network_teacher=TINY_G, path=path, train=static))
    return merge(opt, changes)


def write_options(opt: dict, name: str = 'run.yml') -> None:
    Path(name).write_text(yaml.safe_dump(opt, sort_keys=False))


class Child:
    """``basicsr train`` in a process of its own, in the current directory.

    Attributes:
        iteration: the last one that began.
    """

    def __init__(
        self, *flags: str, opt: str = 'run.yml', pause: float = 0.0, environment: dict[str, str] | None = None
    ) -> None:
        self._iteration = _fork.Value('i', 0)
        argv = ['train', '-opt', opt, *flags]
        self.process = _fork.Process(target=_train, args=(argv, self._iteration, pause, environment or {}))
        self.process.start()

    @property
    def iteration(self) -> int:
        return self._iteration.value

    def wait_for(self, iteration: int, seconds: float = 60) -> None:
        """Until `iteration` has begun, or the process has ended."""
        end = time.monotonic() + seconds
        while self.iteration < iteration and self.process.is_alive():
            assert time.monotonic() < end, f'iteration {iteration} has not begun after {seconds} s'
            time.sleep(0.002)

    def status(self, seconds: float = 60) -> int:
        """Exit status, negative for a signal that killed it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f'still running after {seconds} s'
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _train(argv: list[str], iteration, pause: float, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    release_logger()
    torch.set_num_threads(1)
    plain = PDDModel.optimize_parameters

    def noted(self, current_iter):
        iteration.value = current_iter
        plain(self, current_iter)
        time.sleep(pause)
        # to the last bit; of several processes only the first has the means
        losses = {k: v.hex() for k, v in self.get_current_log().items()}
        if self.opt['rank']:
            return
        with open(LOSSES, 'a') as f:
            f.write(json.dumps({'iter': current_iter, 'lr': self.get_current_learning_rate(), **losses}) + '\n')

    PDDModel.optimize_parameters = noted
    os._exit(run('basicsr', main, argv))


def of_ranks(world: int, launcher: str = 'pytorch') -> list[dict[str, str]]:
    """The environment variables by which a launcher tells the processes of a distributed run their ranks."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = str(s.getsockname()[1])

    def environment(rank: int) -> dict[str, str]:
        if launcher == 'slurm':
            own = dict(SLURM_PROCID=rank, SLURM_NTASKS=world, SLURM_NODELIST='127.0.0.1', SLURM_LOCALID=rank)
            return {k: str(v) for k, v in own.items()} | {'MASTER_PORT': port}
        own = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        return {k: str(v) for k, v in own.items()}

    return [environment(rank) for rank in range(world)]


def ranks(world: int, *flags: str, launcher: str = 'pytorch', pause: float = 0.0) -> list[Child]:
    """The processes of a distributed run, as a launcher starts them."""
    return [Child('--launcher', launcher, *flags, environment=e, pause=pause) for e in of_ranks(world, launcher)]


def losses_by_iteration() -> dict[int, dict]:
    """What was logged last for each iteration; a line that a kill cut short does not count."""
    found = {}
    for line in Path(LOSSES).read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[entry.pop('iter')] = entry
    return found


def differences(a, b, path: str = '') -> list[str]:
    """Places where two nested containers differ, to the last bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return [f'{path}: keys {sorted(map(str, a.keys() ^ b.keys()))}']
        return [d for k in a for d in differences(a[k], b[k], f'{path}.{k}')]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return [f'{path}: length {len(a)}, {len(b)}']
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f'{path}[{i}]')]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [f'{path}: tensors']
    return [] if a == b else [f'{path}: {a!r}, {b!r}']


def final_state(folder: str, iteration: int = 12) -> dict:
    """Everything that a run has written about an iteration."""
    root = Path(folder)
    state = torch.load(root / f'training_states/{iteration}.state', weights_only=True)
    for volatile in ('options', 'networks'):  # paths and flags; hashes of the files that are compared below
        state.pop(volatile)
    networks = {
        f.name: torch.load(f, weights_only=True) for f in sorted((root / 'models').glob(f'net_?_{iteration}.pth'))
    }
    return {'state': state, **networks}
