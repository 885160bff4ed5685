"""How the ranks of a distributed run find each other, and what they tell each other besides gradients.

What exchanges something is also right for a single process, where it returns what it was given.
"""

import os
import subprocess
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from basicsr.utils.dist_util import get_dist_info

from pdd_arch.errors import OptionError

T = TypeVar('T')

_SLURM = '--launcher slurm'
_control_group: dist.ProcessGroup | None = None


def init_dist(launcher: str, backend: str = 'nccl', **kwargs: Any) -> None:
    """BasicSR's function of that name, without its switch to spawned data workers.

    Spawned workers import torch anew, for seconds, at the start of every epoch; forked ones are safe here, since they
    use no GPU. `launcher` is ``pytorch`` (torchrun; `kwargs` are ``init_process_group``'s) or ``slurm`` (one task of
    ``srun`` for each process, rendezvous on the first node; its ``port`` is ``dist_params.port``, else ``MASTER_PORT``,
    else 29500). `backend` is for GPUs; on the CPU it is gloo.
    """
    if launcher == 'slurm':
        _take_environment_of_slurm(**kwargs)
        kwargs = {}
    if torch.cuda.is_available():
        local_rank = int(os.environ.get('LOCAL_RANK', os.environ['RANK']))
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    else:
        backend = 'gloo'
    dist.init_process_group(backend=backend, **kwargs)


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


def open_control_group() -> None:
    """Make a group of all processes on the CPU, for decisions: it does not wait for a GPU. Collective."""
    global _control_group
    if dist.is_available() and dist.is_initialized() and _control_group is None:
        _control_group = cast(dist.ProcessGroup, dist.new_group(backend='gloo'))  # of all ranks, this one included


def close() -> None:
    """Leave the process group, if there is one."""
    global _control_group
    _control_group = None
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process could not be reached: it has ended, for a reason of its own."""
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    # gloo has no exception of its own; nccl's come as DistBackendError
    gloo = any(words in str(error) for words in ('Connection closed by peer', 'Connection reset by peer', 'gloo/'))
    return gloo or isinstance(error, dist.DistError)


def world_size() -> int:
    """How many processes train together."""
    return int(get_dist_info()[1])


def rank() -> int:
    """Number of this process, from 0."""
    return int(get_dist_info()[0])


def largest(value: int) -> int:
    """The largest of all ranks' values."""
    if world_size() == 1:
        return value
    box = torch.tensor(value)
    dist.all_reduce(box, op=dist.ReduceOp.MAX, group=_control_group)
    return int(box)


def all_ranks_true(condition: torch.Tensor) -> torch.Tensor:
    """Elementwise AND of a boolean tensor over all ranks, on the tensor's own device."""
    if world_size() == 1:
        return condition
    box = condition.to(torch.int32)
    dist.all_reduce(box, op=dist.ReduceOp.MIN)
    return box.bool()


def gather_objects(value: T) -> list[T]:
    """Plain Python values of all ranks, in order."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value, group=_control_group)
    return found


def from_first(value: T) -> T:
    """The value of rank 0."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_control_group)
    return box[0]


def broadcast_network(net: torch.nn.Module) -> None:
    """Give a network that is not wrapped for distributed training the weights of rank 0."""
    if world_size() > 1:
        for tensor in net.state_dict().values():
            dist.broadcast(tensor, src=0)


def gather_statistics(own: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Named tensors of all ranks, in order, as constants. Names and shapes are the same on all ranks."""
    constants = {name: value.detach() for name, value in own.items()}
    if world_size() == 1:
        return [constants]
    flat = torch.cat([value.reshape(-1) for value in constants.values()])
    gathered = [torch.empty_like(flat) for _ in range(world_size())]
    dist.all_gather(gathered, flat)
    return [_unflatten(vector, constants) for vector in gathered]


def _unflatten(vector: torch.Tensor, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parts = vector.split([value.numel() for value in like.values()])
    # one message of the widest type; each tensor gets its own back
    return {name: part.view_as(like[name]).to(like[name].dtype) for name, part in zip(like, parts, strict=True)}


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.factor, None


def scale_gradient_by_world_size(value: torch.Tensor) -> torch.Tensor:
    """`value`, its gradient multiplied by the number of ranks.

    Distributed training averages gradients over ranks. A loss of the whole batch is the same number on each of them,
    and each holds only its own share of the gradient: the shares have to be added, not averaged.
    """
    return value if world_size() == 1 else _ScaleGradient.apply(value, float(world_size()))
