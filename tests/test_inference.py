"""Tiled upscaling is the untiled one, whatever the sizes, within its memory."""

import importlib
import json
import runpy
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils import img2tensor, tensor2img
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pdd_arch.errors import DataError, NumbersError, OptionError, PDDWarning
from pdd_arch.inference import TiledUpscaler, forward_padded, forward_tiled, required_multiple
from pdd_arch.inference.tiling import cover, plan_tiles

BENCHMARK = Path(__file__).parents[1] / 'experiments' / 'benchmark'
_MEASURES = runpy.run_path(str(BENCHMARK / 'receptive_field.py'))
receptive_radius, effective_overlap = _MEASURES['receptive_radius'], _MEASURES['effective_overlap']


def compact(convolutions=2, scale=2):
    """A network that looks `convolutions` + 2 pixels far."""
    torch.manual_seed(0)
    return SRVGGNetCompact(3, 3, 8, convolutions, scale, 'prelu').eval()


def folding():
    """A small RRDBNet x2: two pixels a side become channels."""
    torch.manual_seed(0)
    return RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=4).eval()


def image(height, width, dtype=np.uint8, seed=0):
    levels = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, levels, (height, width, 3), dtype=dtype, endpoint=True)


class Watched(nn.Module):
    """Keeps the shapes that a network gets."""

    shapes = []  # of the class: the upscaler works with a copy

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.net(x)


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.setattr(Watched, 'shapes', [])
    return Watched.shapes


# ---------------------------------------------------------------- geometry
@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(1, 300),
    tile=st.integers(0, 80),
    overlap=st.integers(0, 40),
    align=st.sampled_from([1, 2, 4, 7, 8]),
    fit=st.booleans(),
)
def test_kept_parts_partition_the_image(length, tile, overlap, align, fit):
    spans = cover(length, tile, overlap, align, fit)
    padded = -(-length // align) * align
    assert [i for s in spans for i in range(s.keep_start, s.keep_stop)] == list(range(length))
    assert len({s.stop - s.start for s in spans}) == 1
    assert spans[0].start == 0
    assert spans[-1].stop == padded
    for s in spans:
        assert s.start % align == s.stop % align == 0
        assert 0 <= s.start < s.stop <= padded
        assert s.start == 0 or s.keep_start - s.start >= overlap
        assert s.stop == padded or s.stop - s.keep_stop >= overlap
        assert s.keep_stop > s.keep_start
        if tile:
            assert s.stop - s.start <= tile + 2 * overlap + 2 * align


def shape_of(plan):
    """The shape that all windows of an image have."""
    (shape,) = {(t.rows.stop - t.rows.start, t.columns.stop - t.columns.start) for t in plan}
    return shape


def test_windows_do_not_see_more_than_tile_and_overlap_ask_for():
    plan = plan_tiles(1000, 1500, 256, 32)
    height, width = shape_of(plan)
    assert height <= 320
    assert width <= 320
    assert len(plan) == 24


def test_all_large_images_have_the_same_window_where_it_is_compiled():
    sizes = {shape_of(plan_tiles(h, w, 32, 4, 4, fit=False))[0] for h, w in ((41, 45), (97, 64), (200, 333))}
    assert sizes == {40}


# ---------------------------------------------------------------- equality
def test_untiled_is_what_basicsr_makes():
    net, lr = compact(), image(17, 23)
    with torch.no_grad():
        wanted = tensor2img(net(img2tensor(lr.astype(np.float32) / 255)[None]))
    np.testing.assert_array_equal(TiledUpscaler(net, 2)(lr), wanted)
    np.testing.assert_array_equal(TiledUpscaler(net, 2, tile=0, channels_last=False)(lr), wanted)


@pytest.mark.parametrize(('height', 'width'), [(40, 56), (41, 57), (5, 61), (1, 1), (33, 3)])
@pytest.mark.parametrize(('net', 'overlap'), [(compact(), 4), (folding(), 38)], ids=['compact', 'folding'])
def test_tiles_equal_no_tiles(net, overlap, height, width):
    """In float64, where sums in another order make no difference that could be seen."""
    assert receptive_radius(net, 2) == overlap
    net = deepcopy(net).double()
    pixels = image(height, width)
    plans = [plan_tiles(height, width, tile, overlap, required_multiple(net)) for tile in (0, 8)]
    results = []
    for plan in plans:
        result = np.empty((height * 2, width * 2, 3))
        for tile in plan:
            with torch.no_grad():
                values = torch.from_numpy(tile.read(pixels).astype(np.float64)).permute(2, 0, 1)[None] / 255
                output = net(values)[0].permute(1, 2, 0).numpy()
            result[tile.place(2)] = output[tile.rows.kept_of_output(2), tile.columns.kept_of_output(2)]
        results.append(result)
    np.testing.assert_allclose(results[1], results[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('batch', [1, 3, 100])
def test_images_in_tiles_equal_images_without(dtype, batch):
    net, lr = compact(), image(43, 50, dtype)
    tiled = TiledUpscaler(net, 2, tile=16, overlap=4, batch=batch)(lr)
    whole = TiledUpscaler(net, 2, tile=0)(lr)
    assert tiled.dtype == dtype
    assert tiled.shape == (86, 100, 3)
    difference = np.abs(tiled.astype(int) - whole)
    # a sum in another order may fall on the other side of a half
    assert difference.max() <= 1
    assert (difference > 0).mean() < (1e-3 if dtype is np.uint8 else 0.1)


def test_too_little_overlap_shows():
    net, lr = compact(), image(43, 50)
    short, enough = (TiledUpscaler(net, 2, tile=16, overlap=o)(lr).astype(int) for o in (1, 4))
    assert np.abs(short - enough).max() > 2


@pytest.mark.parametrize('height', [48, 49])
def test_folding_network_at_sizes_that_do_not_divide(height):
    net, lr = folding(), image(height, 51)
    tiled = TiledUpscaler(net, 2, tile=10, overlap=18)(lr)
    whole = TiledUpscaler(net, 2, tile=0)(lr)
    assert tiled.shape == (2 * height, 102, 3)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_bf16_is_near():
    net, lr = compact(), image(43, 50)
    half = TiledUpscaler(net, 2, tile=16, overlap=4, precision='bf16')(lr)
    assert np.abs(half.astype(int) - TiledUpscaler(net, 2)(lr)).mean() < 2
    assert next(net.parameters()).dtype == torch.float32


def test_real_esrganer_makes_the_same(tmp_path):
    from realesrgan import RealESRGANer

    net, lr = compact(), image(40, 50)  # it adds a row to odd images at x2, also for networks that need none
    torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    theirs = RealESRGANer(
        2, str(tmp_path / 'net.pth'), model=compact(), tile=16, tile_pad=4, pre_pad=0, device=torch.device('cpu')
    )
    difference = np.abs(TiledUpscaler(net, 2, tile=16, overlap=4)(lr).astype(int) - theirs.enhance(lr)[0])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


# ---------------------------------------------------------------- memory, progress, compilation
def test_the_network_sees_no_more_than_a_batch_of_windows(shapes):
    seen = []
    TiledUpscaler(Watched(compact()), 2, tile=16, overlap=4, batch=3).upscale(
        image(100, 130), lambda done, total: seen.append((done, total))
    )
    plan = plan_tiles(100, 130, 16, 4)
    assert set(shapes) <= {(n, 3, *shape_of(plan)) for n in (1, 2, 3)}
    assert shape_of(plan)[0] <= 24
    assert seen[-1] == (len(plan), len(plan))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_host_memory_is_the_output_and_a_batch():
    """What numpy allocates: tracemalloc sees it, torch's own memory it does not."""
    import tracemalloc

    upscaler, lr = TiledUpscaler(compact(), 2, tile=32, overlap=4), image(300, 400)
    upscaler(image(16, 16))
    tracemalloc.start()
    try:
        upscaler(lr)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # a float copy of the output would be four times as much
    assert peak < 4 * lr.nbytes + 400_000


def test_compiled_windows_have_one_shape(shapes, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, 'compile', lambda self, **options: compiled.append(options))
    upscaler = TiledUpscaler(Watched(compact()), 2, tile=16, overlap=4, batch=2, compile=True)
    for size in ((43, 50), (77, 31)):
        difference = upscaler(image(*size)).astype(int) - TiledUpscaler(compact(), 2)(image(*size))
        assert np.abs(difference).max() <= 1
    assert compiled == [{'dynamic': False}]
    assert set(shapes) == {(2, 3, 24, 24)}


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
def test_on_a_gpu(precision):
    net, lr = compact(), image(143, 150)
    result = TiledUpscaler(net, 2, tile=32, overlap=4, batch=4, device='cuda', precision=precision)(lr)
    assert np.abs(result.astype(int) - TiledUpscaler(net, 2)(lr)).mean() < 2


# ---------------------------------------------------------------- receptive field
@pytest.mark.parametrize(
    ('layers', 'radius'),
    [
        ([nn.Conv2d(3, 3, 1)], 0),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 5, padding=2)], 3),
        ([nn.Conv2d(3, 3, (3, 1), padding=(1, 0))], 1),
        ([nn.Conv2d(3, 3, 3, padding=40, dilation=40)], 40),
        ([nn.PixelUnshuffle(2), nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2)], 3),
    ],
    ids=['pixelwise', '3 and 5', 'upright', 'dilated', 'folded'],
)
def test_receptive_radius_is_exact(layers, radius):
    align = 2 if isinstance(layers[0], nn.PixelUnshuffle) else None
    assert receptive_radius(nn.Sequential(*layers), 1, align) == radius


def test_receptive_radius_of_networks():
    assert receptive_radius(compact(32, 4), 4) == 34
    assert receptive_radius(compact(32, 4), 4, limit=33) is None


def test_a_network_that_looks_everywhere_has_no_radius():
    everywhere = nn.Sequential(nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3))
    assert receptive_radius(everywhere, 1, limit=100) is None


def test_effective_overlap():
    net, lr = compact(6), image(40, 60)
    enough = effective_overlap(net, lr, 2, tile=16, limit=10)
    exact = effective_overlap(net, lr, 2, tolerance=1e-6, tile=16, limit=10)
    assert enough <= exact <= receptive_radius(net, 2) == 8
    assert effective_overlap(net, lr, 2, tolerance=1e-6, tile=16, limit=0) is None
    with pytest.raises(DataError, match=r'image: expected a side of more than .* 144 pixels, found 40 x 60'):
        effective_overlap(net, lr, 2, tile=16)


def test_required_multiple():
    windows = nn.Module()
    windows.window_size = 8
    assert [required_multiple(net) for net in (compact(), folding(), windows)] == [1, 2, 8]


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'scale': 0}, 'scale: expected a whole number of at least 1, found 0'),
        ({'tile': -1}, 'tile: expected a whole number of at least 0, found -1'),
        ({'tile': 1.5}, 'tile: expected a whole number of at least 0, found 1.5'),
        ({'overlap': '8'}, "overlap: expected a whole number of at least 0, found '8'"),
        ({'batch': 0}, 'batch: expected a whole number of at least 1, found 0'),
        ({'align': True}, 'align: expected a whole number of at least 1, found True'),
        ({'precision': 'half'}, "precision: expected 'fp32', 'fp16' or 'bf16', found 'half'"),
        ({'device': 'abacus'}, "device: expected a device of torch such as 'cpu' or 'cuda', found 'abacus'"),
        ({'device': 'cuda:99'}, "found 'cuda:99'"),
        ({'net': 'net'}, 'net: expected a torch.nn.Module, found str'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(OptionError) as e:
        TiledUpscaler(**({'net': compact(), 'scale': 2} | arguments))
    assert message in str(e.value)
    assert '\n' not in str(e.value)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ([[0]], 'image: expected a numpy array, found list'),
        (np.zeros((4, 4, 3)), 'image: expected uint8 or uint16, found float64'),
        (np.zeros((4, 4), np.uint8), r'image: expected the shape \(height, width, 3\), found \(4, 4\)'),
        (np.zeros((4, 4, 4), np.uint8), r'found \(4, 4, 4\)'),
        (np.zeros((0, 4, 3), np.uint8), r'found \(0, 4, 3\)'),
    ],
)
def test_bad_images(wrong, message):
    with pytest.raises(DataError, match=message):
        TiledUpscaler(compact(), 2)(wrong)


def test_wrong_scale():
    with pytest.raises(OptionError, match=r'scale: expected .* with scale 3 .* found \(1, 3, 16, 16\)'):
        TiledUpscaler(compact(), 3)(image(8, 8))
    with pytest.raises(OptionError, match='scale: expected that of the network, found 3'):
        receptive_radius(compact(), 3)


def test_numbers_that_are_not_finite():
    net = compact()
    net.body[0].bias.data[0] = float('inf')
    with pytest.raises(NumbersError, match='net: expected finite outputs in fp32'):
        TiledUpscaler(net, 2)(image(8, 8))


def test_fp16_on_a_cpu_is_discouraged():
    with pytest.warns(PDDWarning, match="use 'bf16'"):
        TiledUpscaler(compact(), 2, precision='fp16')


# ---------------------------------------------------------------- benchmark
@pytest.fixture
def benchmark_inference(monkeypatch):
    """Function of flags: runs ``inference.py`` in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    before = set(sys.modules)
    script = importlib.import_module('inference')

    def run(*flags: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['inference.py', *map(str, flags)])
        script.main()

    yield run
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], '__file__', None) and Path(sys.modules[name].__file__).parent == BENCHMARK:
            del sys.modules[name]


def test_dry_run_of_the_benchmark(benchmark_inference, tmp_path):
    file = tmp_path / 'inference.json'
    network = ('--blocks', 1, '--features', 8, '--size', '40x30', '--tile', 16, '--overlap', 4, '--turns', 1)
    benchmark_inference(*network, '--overlaps', '0,4', '--overlap-tile', 8, '--large-turns', 0, '-o', file)
    found = json.loads(file.read_text())
    assert list(found['speed']) == ['RealESRGANer', 'fp32 contiguous', 'fp32', 'bf16']
    assert found['setting']['weights'] == 'random, seed 0'
    assert [row['largest'] for row in found['overlaps']][1] <= 1 < found['overlaps'][0]['largest']
    assert '| fp32 |' in file.with_suffix('.md').read_text()


def test_the_benchmark_does_not_know_a_method(benchmark_inference, capsys):
    with pytest.raises(SystemExit):
        benchmark_inference('--methods', 'RealESRGANer,fp8')
    assert "'fp8' of 'fp8' is no word about a method" in capsys.readouterr().err


@pytest.mark.parametrize(('height', 'width'), [(37, 50), (16, 16), (5, 41)])
@pytest.mark.parametrize('multiple', [1, 4])
def test_windows_of_a_tensor(height, width, multiple):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        *[torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)], torch.nn.Upsample(scale_factor=2)
    )
    x = torch.rand(2, 3, height, width)
    seen = []

    def watched(window: torch.Tensor) -> torch.Tensor:
        seen.append(window.shape[-2:])
        return net(window)

    with torch.no_grad():
        whole = forward_padded(net, x, multiple)
        torch.testing.assert_close(forward_tiled(watched, x, multiple, tile=8, overlap=3), whole)
        assert forward_tiled(net, x, multiple).equal(whole)
    assert max(max(shape) for shape in seen) <= 8 + 2 * 4 + 3
    assert all(side % multiple == 0 for shape in seen for side in shape)


def test_validation_in_windows():
    from helpers import build

    outputs = []
    for val in ({}, dict(tile=16, tile_overlap=24)):
        model = build(val=val)
        model.lq = torch.rand(1, 3, 70, 60, generator=torch.Generator().manual_seed(0))
        model.test()
        outputs.append(model.output)
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(
    ('count', 'said'), [(0, "'cpu', as torch finds no CUDA device"), (2, "'cpu' or one of 'cuda:0' to 'cuda:1'")]
)
def test_a_gpu_that_is_not_there(monkeypatch, count, said):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: bool(count))
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    with pytest.raises(OptionError, match=f'device: expected {said}, found '):
        TiledUpscaler(torch.nn.Identity(), 1, device='cuda:7')
