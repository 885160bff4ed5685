"""How the processes of a distributed run find each other: nccl where there are GPUs, gloo on the CPU."""

import os
import subprocess

import torch

from pdd_arch.errors import OptionError


def init_dist(launcher: str, backend: str = 'nccl', **kwargs) -> None:
    """BasicSR's function of that name, without its switch to spawned data workers.

    Spawned workers import torch anew, for seconds, at the start of every epoch; forked ones are safe here, since they
    use no GPU.

    Args:
        launcher: ``pytorch`` or ``slurm``.
        backend, kwargs: of the launcher.
    """
    {'pytorch': init_torchrun, 'slurm': init_slurm}[launcher](backend, **kwargs)


def init_torchrun(backend: str = 'nccl', **kwargs) -> None:
    """``--launcher pytorch``: addresses and ranks come from torchrun's environment variables, on one node or several.

    Args:
        backend: for GPUs; on the CPU it is gloo.
        kwargs: of ``torch.distributed.init_process_group``.
    """
    _join(backend, int(os.environ.get('LOCAL_RANK', os.environ['RANK'])), **kwargs)


def init_slurm(backend: str = 'nccl', port: int | None = None) -> None:
    """``--launcher slurm``: one task of ``srun`` for each process; the first node of the job is the meeting point.

    Args:
        backend: for GPUs; on the CPU it is gloo.
        port: of the meeting point (``dist_params.port``), else ``MASTER_PORT``, else 29500.

    Raises:
        OptionError: this is not a task of SLURM.
    """
    try:
        rank, tasks = int(os.environ['SLURM_PROCID']), int(os.environ['SLURM_NTASKS'])
        nodes = os.environ['SLURM_NODELIST']
    except (KeyError, ValueError) as e:
        raise OptionError(f'--launcher slurm: start with srun; {e} is not among the environment variables') from None
    local = int(os.environ.get('SLURM_LOCALID', 0))
    port = port or os.environ.get('MASTER_PORT', 29500)
    os.environ.update(
        MASTER_ADDR=_first_host(nodes),
        MASTER_PORT=str(port),
        WORLD_SIZE=str(tasks),
        RANK=str(rank),
        LOCAL_RANK=str(local),
    )
    _join(backend, local)


def _first_host(nodes: str) -> str:
    """First host of a SLURM node list such as ``gpu[03-05]``."""
    try:
        found = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=False)
    except OSError as e:
        raise OptionError(f'--launcher slurm: scontrol, which expands {nodes!r}, cannot be run: {e}') from None
    hosts = found.stdout.split()
    if not hosts:
        raise OptionError(f'--launcher slurm: scontrol names no host for {nodes!r}: {found.stderr.strip()}')
    return hosts[0]


def _join(backend: str, local_rank: int, **kwargs) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    else:
        backend = 'gloo'
    torch.distributed.init_process_group(backend=backend, **kwargs)
