"""Shared fixtures. Everything here runs offline, on the CPU, in a temporary folder."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

import pdd_arch  # noqa: F401  (applies the shims before any test imports basicsr)

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# small tensors: more threads cost more than they bring, and far more on a busy machine; also in processes that tests
# start, which read the environment
torch.set_num_threads(1)
os.environ |= dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'OPENCV_FOR_THREADS_NUM'), '1')


def pytest_addoption(parser):
    parser.addoption('--bad-inputs', metavar='FILE', help='write a table of wrong inputs and what is said about them')


def pytest_sessionfinish(session):
    """Write that table; the option is for runs of the tests that collect it."""
    file = session.config.getoption('--bad-inputs')
    if file:
        from bad_input_report import write_table

        write_table(Path(file))


#: files that take longest, to be begun first: a file is run by one process
_LONGEST = ('resume', 'published_files', 'distributed', 'trajectory_oracle', 'stopping', 'adapt_runs', 'user_modules')


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is switched off
def pytest_xdist_auto_num_workers():
    """Processes for ``-n auto``: tests also wait, for children, signals and disks."""
    return min((os.cpu_count() or 1) + 1, 4)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, and skip what this machine cannot run, with the reason."""
    order = {f'test_{name}': position for position, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    for item in items:
        if 'gpu' in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
        if 'network' in item.keywords and not os.environ.get('PDD_NETWORK'):
            item.add_marker(pytest.mark.skip(reason='needs the internet (set PDD_NETWORK=1)'))
        if 'data' in item.keywords and not os.environ.get('PDD_SHARED'):
            item.add_marker(pytest.mark.skip(reason='needs data outside the repository (set PDD_SHARED to its folder)'))


@pytest.fixture(scope='session')
def recipes():
    """The functions that regenerate every input and weight behind the oracle fixtures."""
    spec = importlib.util.spec_from_file_location('oracle_recipes', HERE / 'oracle' / 'recipes.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def vgg19_weights(recipes, tmp_path_factory):
    """Function of a gain: path of a torchvision-style VGG19 state dict filled by the oracle's recipe."""
    folder = tmp_path_factory.mktemp('vgg19')
    gains = {'cool': 1.0, 'hot': recipes.HOT_GAIN}

    def path(gain: str) -> str:
        file = folder / f'vgg19_{gain}.pth'
        if not file.exists():
            state = recipes.vgg19_state_dict(gains[gain])
            torch.save({k: torch.from_numpy(v) for k, v in state.items()}, file)
        return str(file)

    return path


@pytest.fixture(autouse=True)
def fresh_logger():
    """BasicSR sets its logger up once per process, with the streams and the log file of that moment."""
    from helpers import release_logger

    yield
    release_logger()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with tiny data of both domains and a validation pair; the current directory of the test."""
    from helpers import write_images

    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'hr', 2, 48, 56)
    write_images(tmp_path / 'real', 3, 16, 20)
    write_images(tmp_path / 'val_hr', 1, 48, 56)
    write_images(tmp_path / 'val_lr', 1, 12, 14)
    return tmp_path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current directory: downloads/ below it is the source of `pdd prepare`, datasets/ is made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'downloads'
