"""Tiles as large as memory allows, and smaller ones where that was too much."""

import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.inference.upscaler import TiledUpscaler
from pdd_arch.utils.host import available_host_memory
from pdd_arch.utils.wording import show

AUTO = 'auto'
#: LR pixels a side that tiles are chosen from, and never made smaller than the last one
TILES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
_PROBE = 64  # LR pixels a side of the window that is measured
# other programs take memory as well, and convolutions need some that no tensor shows
_USABLE = {'cpu': 0.4, 'cuda': 0.7}
_EXHAUSTED = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|ALLOC_FAILED", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and not isinstance(error, PDDError) and bool(_EXHAUSTED.search(str(error)))


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated on a device; None where the system does not tell."""
    if device.type == 'cuda':
        # what torch holds and does not use counts as free
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return available_host_memory() if device.type == 'cpu' else None


class _PeakOfTensors(TorchDispatchMode):
    """Records the largest total size in bytes that the tensors made in its context have at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known or not size:  # a view, or what came in
            return
        self._known.add(address)
        self.live += size
        weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.live -= size


def bytes_per_pixel(net: nn.Module, align: int = 1) -> float:
    """Memory that a network needs per LR pixel of a window, measured with a small one.

    On a GPU it is the peak allocation, workspaces included; elsewhere the largest total size of the tensors that
    existed at one time. Sides of an input must be multiples of `align`.
    """
    side = -(-_PROBE // align) * align
    parameter = next(net.parameters(), torch.zeros(1))
    x = torch.zeros(1, 3, side, side, device=parameter.device, dtype=parameter.dtype)
    with torch.inference_mode():
        if x.is_cuda:
            torch.cuda.reset_peak_memory_stats(x.device)
            before = torch.cuda.memory_allocated(x.device)
            net(x)
            return (torch.cuda.max_memory_allocated(x.device) - before) / side**2
        with _PeakOfTensors() as tensors:
            output = net(x)
    # beside them, the output is brought to the type and the levels of the image
    return (tensors.peak + 3 * output.numel() * 4) / side**2


class AdaptiveUpscaler(TiledUpscaler):
    """A :class:`TiledUpscaler` whose tiles fit into memory.

    Args:
        tile: LR pixels that a window contributes per side at first; ``auto``: as many as the free memory allows, chosen
            for the first image. When memory runs out it is halved, down to the smallest of ``TILES``, and stays so.
        say: called with a sentence for the user when the tile becomes smaller.
    """

    def __init__(
        self,
        net: nn.Module,
        scale: int,
        *,
        tile: int | str = AUTO,
        say: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> None:
        if isinstance(tile, str) and tile != AUTO:
            raise OptionError(where='tile', expected="'auto' or a whole number of at least 0", found=show(tile))
        super().__init__(net, scale, tile=0 if isinstance(tile, str) else tile, **options)
        self._choose = tile == AUTO
        self._say = say

    def upscale(self, image: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """As :meth:`TiledUpscaler.upscale`, in smaller tiles where memory is short.

        Raises:
            PDDError: memory does not suffice even for the smallest tile.
        """
        if self._choose:
            self.tile, self._choose = self.fitting_tile(), False
        while True:
            try:
                return super().upscale(image, progress)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = ' '.join(str(error).split())[:200]
            # outside the handler: the error holds the tensors of the network alive
            self._reduce_tile(image, reason)

    def fitting_tile(self) -> int:
        """The largest of ``TILES`` that the free memory has room for, or the smallest; 256 if memory is unknown."""
        free = free_memory(self.device)
        if free is None:
            return 256
        # larger ones gain nothing in a processor's caches, and progress is seen more often
        sizes = [t for t in TILES if self.device.type != 'cpu' or t <= 512]
        try:
            needed = bytes_per_pixel(self._net, self.align) * self.batch
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return sizes[-1]
        room = free * _USABLE[self.device.type]
        return next((t for t in sizes if (t + 2 * self.overlap) ** 2 * needed <= room), sizes[-1])

    def _reduce_tile(self, image: np.ndarray, reason: str) -> None:
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        # what a window contributes, which is less than the tile in a small image
        spans = (span for tile in self.plan(*image.shape[:2]) for span in (tile.rows, tile.columns))
        used = max(span.keep_stop - span.keep_start for span in spans)
        if used <= TILES[-1]:
            raise PDDError(
                f'out of memory on {self.device} even with tiles of {used} pixels ({reason})',
                way_out='Close other programs, reduce the overlap, use half precision on a GPU, or upscale on another '
                'device.',
            )
        self.tile = max(used // 2, TILES[-1])
        self._say(f'out of memory with tiles of {used} pixels; going on with {self.tile}')
