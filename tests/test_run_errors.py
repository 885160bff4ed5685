"""Errors of a run that come from other code than this package's: one true line each, which names option, file or place.

The checks before a run find many of these; here they are left out.
"""

import copy
import pickle
import re
from pathlib import Path
from unittest.mock import Mock
from urllib.error import HTTPError, URLError

import pytest
import torch
from basicsr.utils.options import dict2str
from basicsr.utils.registry import ARCH_REGISTRY
from helpers import merge
from test_basicsr_runs import ROOT, SRVGG, basicsr, options, place  # noqa: F401  (a fixture)

from pdd_arch.commands.errors import as_user_error
from pdd_arch.errors import MissingFileError, MissingOptionError
from pdd_arch.options.option_section import OptionSection
from pdd_arch.preflight.run import Preflight
from pdd_arch.training.run_state import BasicSROptions, TrainingRun


@pytest.fixture
def unchecked(place, monkeypatch, capfd):  # noqa: F811
    """Run a command without its checks: exit status, last line and the whole of standard error."""
    monkeypatch.setattr('pdd_arch.basicsr_options.check', lambda options, fetch: Preflight(options))

    def call(opt, *flags, command='train'):
        capfd.readouterr()
        status = basicsr(opt, *flags, command=command)
        error = capfd.readouterr().err
        return status, error.strip().splitlines()[-1], error

    return call


#: changes, and what the line has to name
WRONG = {
    'data folder': (dict(datasets=dict(train=dict(dataroot_gt='nowhere'))), ['datasets.train.dataroot_gt', 'nowhere']),
    'list': (
        dict(datasets=dict(train=dict(meta_info_file='nowhere.txt'))),
        ['datasets.train.meta_info', 'nowhere.txt'],
    ),
    'dataset': (dict(datasets=dict(train=dict(type='PairedDataset'))), ['datasets.train.type: ', 'PairedDataset']),
    'weights': (dict(path=dict(pretrain_network_g='nowhere.pth')), ['path.pretrain_network_g: nowhere.pth']),
    'argument of a network': (dict(network_g=dict(num_blocks=3)), ['network_g: TypeError', "'num_blocks'"]),
    'name of a network': (dict(network_g=dict(type='Srvgg')), ['network_g: KeyError: No object named', "'Srvgg'"]),
    'optimizer': (dict(train=dict(optim_g=dict(type='AdamW2'))), ['NotImplementedError', 'AdamW2', 'get_optimizer']),
    'no rate': (dict(train=dict(optim_g=dict(lr=None))), ['train.optim_g.lr: missing', 'a positive number']),
    'no optimizer': (dict(train=dict(optim_g=None)), ['train.optim_g: missing', 'sr_model.py line ']),
    'schedule': (
        dict(train=dict(scheduler=dict(type='Cosine'))),
        ['NotImplementedError', 'Cosine'],
    ),
    'loss': (dict(train=dict(pixel_opt=dict(type='L3Loss'))), ['train.pixel_opt: KeyError', "'L3Loss'"]),
    'no loss': (dict(train=dict(pixel_opt=None)), ['ValueError: Both pixel and perceptual losses are None.']),
    'metric': (
        dict(val=dict(metrics=dict(psnr=dict(type='calculate_psn')))),
        ["No object named 'calculate_psn'", 'calculate_metric'],
    ),
    'no crop': (dict(datasets=dict(train=dict(gt_size=None))), ['datasets.train.gt_size: missing', 'line ']),
    'large crop': (
        dict(datasets=dict(train=dict(gt_size=256))),
        ['LQ (12, 12) is smaller', 'paired_random_crop'],
    ),
    'two scales': (
        dict(scale=2),
        ['datasets.train: ValueError: Scale mismatches. GT (48, 48) is not 2x multiplication'],
    ),
    'scale': (dict(network_g=dict(upscale=2)), ['The size of tensor a', 'Compare scale, network_g, datasets.train.gt']),
    'channels': (dict(network_g=dict(num_in_ch=1)), ['Given groups=1', 'Compare scale, network_g, datasets.train.gt']),
}


@pytest.mark.parametrize(
    ('case', 'workers'), [*((case, 0) for case in WRONG), *((case, 1) for case in WRONG if 'crop' in case)]
)
def test_wrong_options(unchecked, case, workers):
    changes, words = WRONG[case]
    opt = merge(options(train=dict(total_iter=1)), dict(datasets=dict(train=dict(num_worker_per_gpu=workers))))
    status, line, error = unchecked(merge(opt, changes))
    assert status == 1
    assert line.startswith('basicsr: error: ')
    assert 'Traceback' not in error
    assert 'may be a bug' not in line
    for word in words:
        assert word in line


def test_an_option_of_a_model_that_is_missing(unchecked):
    status, line, _ = unchecked(options('ESRGANModel', train=dict(optim_d=None)))
    assert status == 1
    assert re.search(
        # Python 3.10 does not tell the class
        r'error: train.optim_d: missing, but basicsr/models/srgan_model.py line \d+ \((SRGANModel\.)?setup_optimizers'
        r"\) reads it. Did you mean 'optim_g'\?",
        line,
    )


def test_where_a_foreign_error_came_from_is_in_the_log(unchecked):
    unchecked(merge(options(), dict(network_g=dict(upscale=2))))
    (log,) = ROOT.glob('train_*.log')
    assert 'Traceback' in log.read_text()
    assert 'in optimize_parameters' in log.read_text()


# ---------------------------------------------------------------- downloads, memory, files
PERCEPTUAL = dict(type='PerceptualLoss', layer_weights={'conv1_2': 1.0}, criterion='l1')


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (URLError('Name or service not known'), 'Name or service not known'),
        (HTTPError('https://host/vgg.pth', 404, 'Not Found', None, None), 'Not Found'),
        (ConnectionResetError(104, 'Connection reset by peer'), 'Connection reset by peer'),
        (TimeoutError('timed out'), 'timed out'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_that_a_loss_cannot_download(unchecked, monkeypatch, error, reason):
    monkeypatch.setattr('torch.hub.urlopen', Mock(side_effect=error))
    monkeypatch.setattr('torch.hub._hub_dir', 'cache')
    status, line, _ = unchecked(options(train=dict(perceptual_opt=PERCEPTUAL)))
    assert status == 1
    assert re.search(rf'train.perceptual_opt: https?://.*pth: cannot be downloaded \(.*{reason}\)', line)
    assert 'put it at cache/checkpoints/vgg19-dcbb9e9d.pth' in line
    assert 'basicsr/archs/vgg_arch.py line ' in line


@pytest.mark.parametrize(
    ('error', 'where'),
    [
        (MemoryError(), 'out of memory: MemoryError'),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            'out of memory: ',
        ),
        (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 9 GiB'), 'out of memory on the GPU: '),
    ],
    ids=['python', 'torch', 'gpu'],
)
def test_no_memory(unchecked, monkeypatch, error, where):
    # Real-ESRGAN registers another class of this name, once it is imported
    monkeypatch.setattr(ARCH_REGISTRY.get('SRVGGNetCompact'), 'forward', Mock(side_effect=error))
    status, line, _ = unchecked(options())
    assert status == 1
    assert where in line
    assert 'Reduce datasets.train.gt_size or datasets.train.batch_size_per_gpu (training)' in line


def test_a_file_without_permission(unchecked, monkeypatch):
    refused = PermissionError(13, 'Permission denied', 'hr/000.png')
    monkeypatch.setattr('basicsr.utils.file_client.HardDiskBackend.get', Mock(side_effect=refused))
    for workers in (0, 1):
        status, line, _ = unchecked(options(datasets=dict(train=dict(num_worker_per_gpu=workers))))
        assert status == 1
        assert re.search(r'hr/000.png cannot be used \(Permission denied\). Correct its permissions', line)


# ---------------------------------------------------------------- code of the user
MODEL = """
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class MyModel{number}(SRModel):
    def optimize_parameters(self, current_iter):
        self.helper()

    def helper(self):
        {fails}
"""


@pytest.mark.parametrize(
    ('fails', 'reason'),
    [
        ('self.net_g(self.lq[:, :1])', 'RuntimeError: Given groups=1'),
        ("self.opt['train']['my_weight']", 'train.my_weight: missing, but my_model'),
        ("open('nowhere.txt')", "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.txt'"),
    ],
)
def test_a_class_of_the_user(unchecked, fails, reason):
    number = abs(hash(fails))  # registered anew
    Path(f'my_model{number}.py').write_text(MODEL.format(number=number, fails=fails))
    opt = options(model_type=f'MyModel{number}')
    status, line, error = unchecked(opt, '--import', f'my_model{number}.py')
    assert status == 1
    assert reason in line
    assert f'my_model{number}.py line 12' in line
    assert 'may be a bug' not in error
    if 'missing' in reason:
        return
    shown = error[error.index('Traceback') :]
    assert re.findall(r'File ".*/(.*)", line (\d+)', shown) == [
        (f'my_model{number}.py', '9'),
        (f'my_model{number}.py', '12'),
    ]
    assert fails in shown


def test_our_own_mistakes_are_called_bugs(unchecked, monkeypatch):
    monkeypatch.delattr('pdd_arch.basicsr_loop.models.FollowedModel.record_checkpoint')
    status, line, error = unchecked(options())
    assert status == 1
    assert 'unexpected AttributeError' in line
    assert 'This may be a bug; --debug shows' in line
    assert 'Traceback' not in error


# ---------------------------------------------------------------- sections that know their place
def test_sections_know_their_place():
    opt = BasicSROptions(dict(train=dict(optim_g=dict(lr=1.0), extra=[dict(a=1)]), x=1), TrainingRun())
    train = opt['train']
    for section in (train, copy.deepcopy(opt)['train'], copy.copy(train), pickle.loads(pickle.dumps(train))):
        with pytest.raises(MissingOptionError, match=r"^train\.optim_d: missing\. Did you mean 'optim_g'\?"):
            section['optim_d']
        with pytest.raises(KeyError, match=r'train\.optim_g\.betas'):
            section['optim_g'].pop('betas')
        with pytest.raises(KeyError, match=r'train\.extra\[0\]\.b'):
            section['extra'][0]['b']
        assert section['optim_g'].pop('betas', 2) == 2
        assert section.get('optim_d') is None
        assert 'optim_d' not in section
        assert {**section['optim_g']} == dict(lr=1.0)
        assert section == dict(optim_g=dict(lr=1.0), extra=[dict(a=1)])
    with pytest.raises(MissingOptionError, match=r'^network_d: missing\. Add it to the option file\.'):
        opt['network_d']
    assert dict2str(opt['train']) == dict2str(dict(optim_g=dict(lr=1.0), extra=[dict(a=1)]))
    assert isinstance(OptionSection(dict(a={})).pop('a'), dict)


def test_what_we_say_ourselves_stays_as_it_is():
    error = MissingFileError('x does not exist', where='path.y')
    assert as_user_error(error) is error
