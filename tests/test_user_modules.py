"""Classes of the user's own with the commands: ``--import`` and ``import:`` in the option file."""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from basicsr.utils.registry import LOSS_REGISTRY
from helpers import release_logger, run_options
from programs import python

from pdd_arch.commands import pdd_cli
from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import parse_yaml, with_key
from pdd_arch.utils import user_modules

LOSS = """
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn


@LOSS_REGISTRY.register()
class {name}(nn.Module):
    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred, target):
        return self.loss_weight * {result}
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test imports and registers is unknown to the next."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(user_modules, '_files', set())
    modules, registered = set(sys.modules), set(LOSS_REGISTRY._obj_map)
    yield
    for name in set(sys.modules) - modules:
        if not (getattr(sys.modules[name], '__file__', None) or '').startswith(sys.prefix):
            del sys.modules[name]
    for name in set(LOSS_REGISTRY._obj_map) - registered:
        del LOSS_REGISTRY._obj_map[name]


def write_loss(file='my_loss.py', name='MyLoss', result='(pred - target).abs().mean()', before=''):
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + LOSS.format(name=name, result=result))


def write(opt, file='run.yml'):
    Path(file).write_text(yaml.safe_dump(opt, sort_keys=False))


def basicsr(*args):
    release_logger()
    return run('basicsr', main, list(args))


OWN = dict(train=dict(pixel_opt=dict(type='MyLoss', loss_weight=0.5, weights=None)))


def test_train_with_a_loss_of_the_command_line(workplace, capfd):
    write_loss()
    write(run_options(**OWN))
    assert basicsr('train', '-opt', 'run.yml', '--import', 'my_loss.py') == 0
    copy = (workplace / 'experiments/tiny/run.yml').read_text()
    assert 'import: [my_loss.py]\n' in copy
    assert parse_yaml(copy)['import'] == ['my_loss.py']
    capfd.readouterr()
    # the copy can be run as it is
    assert basicsr('train', '-opt', 'experiments/tiny/run.yml', '--check') == 0
    out = capfd.readouterr().out
    assert 'imports:        my_loss.py' in out
    assert 'MyLoss' in out


@pytest.mark.parametrize('value', ['my_loss.py', ['my_loss.py'], ['./my_loss.py', 'my_loss', 'my_loss.py']])
def test_key_of_the_option_file(workplace, value):
    write_loss()
    for _ in range(2):  # a second time is harmless
        RunOptions.of(run_options(**OWN) | {'import': value})
    assert 'MyLoss' in LOSS_REGISTRY


def test_force_yml_sets_the_key(workplace, capfd):
    write_loss()
    write(run_options(**OWN))
    assert basicsr('train', '-opt', 'run.yml', '--check', '--force_yml', 'import=my_loss.py') == 0


@pytest.mark.parametrize(
    'name', ['my-loss.py', 'my loss.py', '../beside/loss_é.py', 'linked.py', 'BOM.py', '{cwd}/full.py']
)
def test_names_of_files(workplace, name):
    name = name.format(cwd=workplace)
    write_loss('target_of_the_link.py' if name == 'linked.py' else name)
    if name == 'linked.py':
        os.symlink('target_of_the_link.py', name)
    if name == 'BOM.py':
        Path(name).write_bytes(b'\xef\xbb\xbf' + Path(name).read_bytes())
    user_modules.import_user_modules([name, os.path.relpath(name), os.path.abspath(name)])
    assert 'MyLoss' in LOSS_REGISTRY


def test_installed_module_by_name(workplace):
    """Real-ESRGAN's classes, for instance, become known by its name."""
    user_modules.import_user_modules(['realesrgan', 'realesrgan.data.realesrgan_dataset'])


def test_script_itself_may_be_named(workplace):
    """``python my_run.py -opt run.yml --import my_run.py``: it is not registered twice."""
    write_loss('my_run.py', before='import pdd_arch\n')
    with open('my_run.py', 'a') as f:
        f.write("\n\nif __name__ == '__main__':\n    import os\n    from basicsr.train import train_pipeline\n")
        f.write('    train_pipeline(os.getcwd())\n')
    write(run_options(**OWN) | {'import': ['my_run']})
    done = python('my_run.py', '-opt', 'run.yml', '--import', './my_run.py')
    assert done.returncode == 0, done.stderr
    assert Path('experiments/tiny/models/net_g_latest.pth').is_file()


def test_module_of_a_package_and_its_neighbours(workplace):
    write_loss('my_package/losses.py', before='from my_package.common import ONE\n')
    Path('my_package/common.py').write_text('ONE = 1\n')
    user_modules.import_user_modules(['my_package.losses', 'my_package/losses.py'])
    write_loss('elsewhere/other.py', 'OtherLoss', before='import beside_other\n')
    Path('elsewhere/beside_other.py').write_text('')
    user_modules.import_user_modules('elsewhere/other.py')
    assert {'MyLoss', 'OtherLoss'} <= set(LOSS_REGISTRY.keys())


def test_unregistered_name_says_how_to_import(workplace, capfd):
    write(run_options(**OWN))
    assert basicsr('train', '-opt', 'run.yml', '--check') == 1
    error = capfd.readouterr().err
    assert "train.pixel_opt.type: no loss 'MyLoss' is registered." in error
    assert '--import FILE.py, or import: [FILE.py] in the option file' in error


BROKEN = {
    'wrong name': ('import torch\n\nx = undefined\n', 'my_loss.py line 3: NameError: name'),
    'syntax': ('def f(:\n    pass\n', 'my_loss.py line 1: SyntaxError'),
    'missing package': ('\nimport no_such_package_xyz\n', 'my_loss.py line 2: ModuleNotFoundError'),
    'in a neighbour': ('import broken_neighbour\n', 'broken_neighbour.py line 2: ZeroDivisionError'),
    'deep in a library': ('import torch\ntorch.zeros(2).view(3)\n', 'my_loss.py line 2: RuntimeError'),
    'it ends the program': ('import sys\nsys.exit(3)\n', 'my_loss.py line 2: SystemExit: 3'),
    'a name that is taken': (
        LOSS.format(name='L1Loss', result='0'),
        r'my_loss.py line [67]: AssertionError: An object named',  # of the decorator, or the class (Python 3.10)
    ),
    'relative import': ('from .common import x\n', 'my_loss.py line 1: ImportError'),
    'not UTF-8': (b'x = "caf\xe9"\n', 'my_loss.py'),
    'zero bytes': (b'x = 1\0\n', 'my_loss.py'),
    'a recursion': ('def f():\n    f()\nf()\n', 'RecursionError'),
    'a loss of another file': (
        'import first\n' + LOSS.format(name='FirstLoss', result='0'),
        r'my_loss.py line [78]: AssertionError',
    ),
}


@pytest.mark.parametrize('case', BROKEN)
def test_module_that_fails_is_one_line(case, workplace, capfd):
    content, expected = BROKEN[case]
    Path('my_loss.py').write_bytes(content if isinstance(content, bytes) else content.encode())
    Path('broken_neighbour.py').write_text('\n1 / 0\n')
    write_loss('first.py', 'FirstLoss')
    write(run_options())
    assert basicsr('train', '-opt', 'run.yml', '--import', 'my_loss.py') == 1
    error = capfd.readouterr().err.strip()
    assert re.match(f'basicsr: error: {expected}', error) or case == 'a recursion'
    assert re.search(expected, error)
    assert '\n' not in error
    assert 'may be a bug' not in error
    assert not Path('experiments').exists()


@pytest.mark.parametrize(
    ('name', 'kind', 'words'),
    [
        ('no_such.py', MissingFileError, 'no_such.py does not exist'),
        ('folder/', OptionError, "a Python file .* found 'folder/'"),
        ('./text.txt', OptionError, "found './text.txt'"),
        ('text.txt', MissingFileError, "no module 'text.txt'"),
        ('no_such_module', MissingFileError, "no module 'no_such_module'"),
        ('torch.no_such', MissingFileError, "no module 'torch.no_such'"),
        ('no_such_package.module', MissingFileError, 'no module'),
        ('.relative', OptionError, 'name of a module'),
        ('two words', OptionError, "found 'two words'"),
        ('torch.py', OptionError, 'its name is that of another module, .*torch'),
        ('a.b.py', OptionError, 'cannot import a file called a.b.py'),
        ('folder/__init__.py', OptionError, 'name of its package'),
    ],
)
def test_what_is_no_module(name, kind, words, workplace):
    Path('folder').mkdir()
    for file in ('folder/__init__.py', 'text.txt', 'torch.py', 'a.b.py'):
        Path(file).write_text('')
    with pytest.raises(kind, match=words):
        user_modules.import_user_modules(name)


@pytest.mark.parametrize('value', [3, {'a': 1}, [3], [''], [['my_loss.py']], True])
def test_import_is_a_list_of_names(value, workplace):
    with pytest.raises(OptionError, match=r'^import(\[0\])?: expected a .*, found'):
        RunOptions.of(run_options() | {'import': value})


def test_script_without_a_main_guard(workplace, capfd):
    Path('my_run.py').write_text('import os\nfrom basicsr.train import train_pipeline\ntrain_pipeline(os.getcwd())\n')
    write(run_options())
    before, sys.argv = sys.argv, ['basicsr', '-opt', 'run.yml', '--import', 'my_run.py']
    try:
        assert basicsr('train', *sys.argv[1:]) == 1
    finally:
        sys.argv = before
    assert 'my_run.py: is being imported and starts a run itself. Put the call' in capfd.readouterr().err
    assert not Path('experiments').exists()


def test_module_that_asks_for_the_logger_leaves_the_log_alone(workplace):
    write_loss(before='from basicsr.utils import get_root_logger\nget_root_logger()\n')
    write(run_options(**OWN))
    assert basicsr('train', '-opt', 'run.yml', '--import', 'my_loss.py') == 0
    (log,) = Path('experiments/tiny').glob('train_*.log')
    assert 'End of training' in log.read_text()


def test_error_in_the_module_is_not_called_a_bug(workplace, capfd):
    write_loss('broken.py', 'BrokenLoss', result='no_such_thing')
    write(run_options(train=dict(pixel_opt=dict(type='BrokenLoss', weights=None))))
    assert basicsr('train', '-opt', 'run.yml', '--import', 'broken.py') == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("basicsr: error: broken.py line 13: NameError: name 'no_such_thing' is not defined")
    assert 'may be a bug' not in error


DATASET = """
from basicsr.utils.registry import DATASET_REGISTRY
from pdd_arch import UnpairedAdaptationDataset


@DATASET_REGISTRY.register()
class MyDataset(UnpairedAdaptationDataset):
    def __init__(self, opt):
        super().__init__({**opt, 'type': 'UnpairedAdaptationDataset'})

    def __getitem__(self, index):
        if FAILS:
            raise KeyError('of my dataset')
        return super().__getitem__(index)
"""
SPAWN = """
import multiprocessing
import sys

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run

if __name__ == '__main__':
    multiprocessing.set_start_method('spawn', force=True)
    sys.exit(run('basicsr', main, sys.argv[1:]))
"""


@pytest.mark.parametrize(('how', 'fails'), [('fork', True), ('spawn', False)])
def test_dataset_of_the_users_own_in_data_workers(how, fails, workplace):
    Path('elsewhere').mkdir()
    Path('elsewhere/my_data.py').write_text(f'FAILS = {fails}\n{DATASET}')
    Path('spawn.py').write_text(SPAWN)
    # one epoch: each starts workers anew, which takes a spawned one five seconds
    changes = dict(datasets=dict(train=dict(type='MyDataset', num_worker_per_gpu=1, dataset_enlarge_ratio=5)))
    write(run_options(**changes) | {'import': ['elsewhere/my_data.py']})
    program = ['spawn.py'] if how == 'spawn' else ['-m', 'pdd_arch']
    done = python(*program, 'train', '-opt', 'run.yml')
    assert done.returncode == int(fails), done.stderr
    if fails:
        assert "my_data.py line 14: KeyError: 'of my dataset'" in done.stderr.splitlines()[-1]
        assert 'may be a bug' not in done.stderr


def test_tables_with_a_loss_of_the_users_own(workplace, tmp_path, capfd):
    write_loss()
    write(run_options(**OWN))
    rows = [dict(name='own'), dict(name='start', method='start')]
    write(dict(title='t', opt='run.yml', datasets=dict(d={}), rows=rows), 'list.yml')
    release_logger()
    assert pdd_cli.main(['tables', 'list.yml', '-o', 'out', '--import', 'my_loss.py', '--only', 'own']) in (0, 1)
    assert list(Path('out/cells').glob('d_own_seed0.json'))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('# c\nname: x\nscale: 4\n', '# c\nimport: [a.py, b.c]\nname: x\nscale: 4\n'),
        ('name: x\nimport: a.py  # mine\nscale: 4\n', 'name: x\nimport: [a.py, b.c]  # mine\nscale: 4\n'),
        ('import:\n  - a.py\n  # c\n\nname: x\n', 'import:\n [a.py, b.c]\n  # c\n\nname: x\n'),
        ('name: x\nimport:\n', 'name: x\nimport: [a.py, b.c]\n'),
        ('import: ~\nname: x', 'import: [a.py, b.c]\nname: x'),
        ('import: [a.py,\n  d.py]\nname: x', 'import: [a.py, b.c]\nname: x'),
        ('{name: x, scale: 4}\n', '{import: [a.py, b.c], name: x, scale: 4}\n'),
        ('---\nname: x\r\nscale: 4\r\n', '---\nimport: [a.py, b.c]\nname: x\r\nscale: 4\r\n'),
    ],
)  # fmt: skip
def test_key_put_into_an_option_file(text, expected):
    changed = with_key(text, 'import', ['a.py', 'b.c'])
    assert changed == expected
    assert parse_yaml(changed) == {**parse_yaml(text), 'import': ['a.py', 'b.c']}


def test_loss_of_the_readme(workplace, capfd):
    text = (Path(user_modules.__file__).parents[2] / 'README.md').read_text(encoding='utf-8')
    code = next(
        block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if block.startswith('# my_loss.py')
    )
    Path('my_loss.py').write_text(code)
    write(run_options())
    changed = 'train:distill_opt={type: FeatureMeanLoss, layers: [features.4]}'
    assert basicsr('train', '-opt', 'run.yml', '--import', 'my_loss.py', '--force_yml', changed) == 0
    assert 'l_mean: ' in capfd.readouterr().err
