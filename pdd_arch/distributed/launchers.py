"""How the ranks of a distributed run find each other: nccl where there are GPUs, gloo on the CPU."""

import os
import subprocess
from typing import Any

import torch

from pdd_arch.errors import OptionError

_SLURM = '--launcher slurm'


def init_dist(launcher: str, backend: str = 'nccl', **kwargs: Any) -> None:
    """BasicSR's function of that name, without its switch to spawned data workers.

    Spawned workers import torch anew, for seconds, at the start of every epoch; forked ones are safe here, since they
    use no GPU.

    Args:
        launcher: ``pytorch`` (torchrun; addresses and ranks come from its environment variables, on one node or
            several) or ``slurm`` (one task of ``srun`` for each process; the first node of the job is the rendezvous).
        backend: on GPUs; on the CPU it is gloo.
        kwargs: ``pytorch``: arguments of ``torch.distributed.init_process_group``. ``slurm``: ``port`` of the
            rendezvous (``dist_params.port``), else ``MASTER_PORT``, else 29500.
    """
    if launcher == 'slurm':
        _take_environment_of_slurm(**kwargs)
        kwargs = {}
    if torch.cuda.is_available():
        local_rank = int(os.environ.get('LOCAL_RANK', os.environ['RANK']))
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    else:
        backend = 'gloo'
    torch.distributed.init_process_group(backend=backend, **kwargs)


def _take_environment_of_slurm(port: int | None = None) -> None:
    """Set torchrun's environment variables from SLURM's."""
    try:
        rank, tasks = int(os.environ['SLURM_PROCID']), int(os.environ['SLURM_NTASKS'])
        nodes = os.environ['SLURM_NODELIST']
    except (KeyError, ValueError) as e:
        raise OptionError(f'start with srun; {e} is not among the environment variables', where=_SLURM) from None
    os.environ.update(
        MASTER_ADDR=_first_host(nodes),
        MASTER_PORT=str(port or os.environ.get('MASTER_PORT', 29500)),
        WORLD_SIZE=str(tasks),
        RANK=str(rank),
        LOCAL_RANK=os.environ.get('SLURM_LOCALID', '0'),
    )


def _first_host(nodes: str) -> str:
    """First host of a SLURM node list such as ``gpu[03-05]``."""
    try:
        found = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=False)
    except OSError as e:
        raise OptionError(f'scontrol, which expands {nodes!r}, cannot be run: {e}', where=_SLURM) from None
    hosts = found.stdout.split()
    if not hosts:
        raise OptionError(f'scontrol names no host for {nodes!r}: {found.stderr.strip()}', where=_SLURM)
    return hosts[0]
