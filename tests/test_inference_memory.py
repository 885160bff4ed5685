"""Tiles are as large as memory allows, and become smaller instead of failing."""

import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from photo_material import Nearest, doubled, pattern
from torch import nn

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.inference import AdaptiveUpscaler, TiledUpscaler, memory
from pdd_arch.inference.memory import TILES, bytes_per_pixel, free_memory
from pdd_arch.utils import host

GPU = torch.device('cuda')


class Hungry(Nearest):
    """Runs out of memory for windows above a size."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def forward(self, x):
        if max(x.shape[2:]) > self.most:
            raise self.error
        return super().forward(x)


ERRORS = [
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.'),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
]


@pytest.mark.parametrize('error', ERRORS, ids=['cuda', 'python', 'torch on the host', 'cudnn'])
def test_the_tile_is_halved_until_it_fits(error):
    image, said = pattern(3, 8, 200, 300), []
    upscale = AdaptiveUpscaler(Hungry(100, error), 2, tile=1024, overlap=8, say=said.append)
    np.testing.assert_array_equal(upscale(image), doubled(image))
    assert said == [
        'out of memory with tiles of 300 pixels; going on with 150',
        'out of memory with tiles of 150 pixels; going on with 75',
    ]
    assert upscale.tile == 75
    np.testing.assert_array_equal(upscale(image), doubled(image))  # at once
    assert len(said) == 2


def test_an_image_that_never_fits_ends_in_one_line():
    with pytest.raises(
        PDDError, match=r'out of memory on cpu even with tiles of 25 pixels \(.*Close other programs'
    ) as e:
        AdaptiveUpscaler(Hungry(10, MemoryError()), 2, overlap=0)(pattern(3, 8, 100, 70))
    assert '\n' not in str(e.value)


def test_other_errors_are_not_for_want_of_memory():
    said = []
    upscale = AdaptiveUpscaler(Hungry(10, RuntimeError('size mismatch')), 2, say=said.append)
    with pytest.raises(RuntimeError, match='size mismatch'):
        upscale(pattern(3, 8, 50, 50))
    assert said == []


def test_the_same_result_as_with_a_tile_that_was_given():
    torch.manual_seed(0)
    net, image = SRVGGNetCompact(3, 3, 8, 2, 2, 'prelu'), pattern(3, 8, 70, 90)
    np.testing.assert_array_equal(
        AdaptiveUpscaler(net, 2, tile=32, overlap=4)(image), TiledUpscaler(net, 2, tile=32, overlap=4)(image)
    )
    with pytest.raises(OptionError, match=r"tile: expected 'auto' or a whole number of at least 0, found 'all'"):
        AdaptiveUpscaler(net, 2, tile='all')


@pytest.mark.parametrize(
    ('free', 'tile'), [(2**40, 512), (2**30, 384), (2**28, 128), (2**26, 48), (2**10, 32), (None, 256)]
)
def test_tiles_from_free_memory(monkeypatch, free, tile):
    monkeypatch.setattr(memory, 'free_memory', lambda device: free)
    monkeypatch.setattr(memory, 'bytes_per_pixel', lambda net, align: 2000.0)
    upscale = AdaptiveUpscaler(Nearest(), 2)
    assert upscale.fitting_tile() == tile
    if free is not None and tile > 32:
        assert (tile + 64) ** 2 * 2000 < free / 2
        larger = min(t for t in TILES if t > tile)
        assert tile == 512 or (larger + 64) ** 2 * 2000 > free / 4
    upscale(pattern(3, 8, 8, 8))
    assert upscale.tile == tile


def test_what_a_network_needs():
    """An example that can be counted: what a layer reads, what it writes, and the result in floating point."""

    class Layers(nn.Sequential):
        def forward(self, x):
            return super().forward(x)[:, :3]

    net = Layers(nn.Conv2d(3, 100, 1, bias=False), nn.Conv2d(100, 50, 1, bias=False), nn.Conv2d(50, 3, 1, bias=False))
    assert bytes_per_pixel(net) == pytest.approx(4 * (100 + 50 + 3 * 3), rel=0.05)
    assert bytes_per_pixel(net, align=48) == pytest.approx(bytes_per_pixel(net), rel=0.01)
    few, many = (bytes_per_pixel(SRVGGNetCompact(3, 3, 8, n, 2, 'prelu')) for n in (1, 20))
    assert few == many  # what is not needed any more does not count


# ---------------------------------------------------------------- what the system tells
def test_free_memory_of_the_host():
    free = free_memory(torch.device('cpu'))
    assert free is not None
    assert 2**20 < free < 2**50
    assert free_memory(torch.device('meta')) is None


@pytest.mark.parametrize(
    ('names', 'line', 'folder'),
    [
        (('memory.max', 'memory.current', 'inactive_file'), '0::/box/inner\n', 'box'),
        (
            ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
            '9:cpu:/box\n4:memory:/box\n',
            'memory/box',
        ),
    ],
)
def test_limits_of_control_groups(tmp_path, names, line, folder):
    group, membership = tmp_path / 'cgroup' / folder, tmp_path / 'membership'
    group.mkdir(parents=True)
    membership.write_text(line)
    (group / names[0]).write_text('1000\n')
    (group / names[1]).write_text('700\n')
    (group / 'memory.stat').write_text(f'anon 5\n{names[2]} 250\n')
    assert host._left_in_control_groups(tmp_path / 'cgroup', membership) == [550]
    (group / names[0]).write_text('max\n')
    assert host._left_in_control_groups(tmp_path / 'cgroup', membership) == []


# ---------------------------------------------------------------- on a GPU
@pytest.mark.gpu
def test_tiles_on_a_gpu():
    torch.manual_seed(0)
    net, image = SRVGGNetCompact(3, 3, 64, 4, 4, 'prelu'), pattern(3, 8, 300, 400)
    upscale = AdaptiveUpscaler(net, 4, device=GPU)
    whole = upscale(image)
    assert upscale.tile == TILES[0]
    assert np.abs(whole.astype(int) - TiledUpscaler(net, 4)(image)).max() <= 1


@pytest.mark.gpu
def test_running_out_of_memory_on_a_gpu():
    torch.manual_seed(0)
    net, image, said = SRVGGNetCompact(3, 3, 64, 4, 4, 'prelu'), pattern(3, 8, 1500, 1500), []
    upscale = AdaptiveUpscaler(net, 4, tile=0, device=GPU, say=said.append)
    total = torch.cuda.mem_get_info()[1]
    used = torch.cuda.memory_reserved() + 2**29
    torch.cuda.set_per_process_memory_fraction(used / total)
    try:
        large = upscale(image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert said[0].startswith('out of memory with tiles of 1500 pixels; going on with 750')
    assert large.shape == (6000, 6000, 3)
    assert np.abs(large.astype(int) - AdaptiveUpscaler(net, 4, device=GPU)(image)).max() <= 1
