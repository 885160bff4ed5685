"""Option files as they arrive in bug reports: read as they were meant, or refused with what to do about it."""

import io
import os

import pytest
import yaml
from helpers import options, run_options

from pdd_arch.basicsr_loop.outputs import copy_option_file
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.options.command_line import apply_overrides
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import load_options
from pdd_arch.training.run_state import TrainingRun

GOOD = yaml.safe_dump(run_options(), sort_keys=False)


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def read(folder, content):
    file = folder / 'run.yml'
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return RunOptions.of(load_options(file))


READ = {
    'Windows': (GOOD.replace('\n', '\r\n'), 'scale', 4),
    'old Mac': (GOOD.replace('\n', '\r'), 'scale', 4),
    'byte-order mark': (f'\ufeff{GOOD}', 'name', 'tiny'),
    '1e-4': (changed('lr: 0.0001', 'lr: 1e-4'), 'train.optim_g.lr', 1e-4),
    '.1E-3': (changed('lr: 0.0001', 'lr: .1E-3'), 'train.optim_g.lr', 1e-4),
    'underscores': (changed('total_iter: 2', 'total_iter: 1_000'), 'train.total_iter', 1000),
    'hexadecimal': (changed('manual_seed: 0', 'manual_seed: 0x10'), 'manual_seed', 16),
    'comment with colons': (changed('scale: 4', 'scale: 4  # note: 4x, see: paper'), 'scale', 4),
    'comma at the end of a list': (changed('    milestones:\n    - 100\n', '    milestones: [100, ]\n'), 'scale', 4),
    'name in quotes': (changed('name: tiny', 'name: "2024-05-01"'), 'name', '2024-05-01'),
    'document marks': (f'---\n{GOOD}...\n', 'scale', 4),
    'merged anchor': (
        changed('  optim_g:\n    type: Adam\n', '  optim_g: &o\n    type: Adam\n').replace(
            '  scheduler:', '  optim_d: {<<: *o, lr: 1e-5}\n  gan_opt: {type: GANLoss, gan_type: vanilla}\n  scheduler:'
        )
        + yaml.safe_dump({'network_d': options()['network_d']}),
        'train.optim_d.type',
        'Adam',
    ),
}


@pytest.mark.parametrize('case', READ)
def test_read(tmp_path, case):
    content, key, value = READ[case]
    found = read(tmp_path, content).file
    for name in key.split('.'):
        found = getattr(found, name)
    assert found == value


REFUSED = {
    'tabs as indentation': (changed('  val_freq: 2', '\tval_freq: 2'), ['line 77', 'Write spaces instead of tabs.']),
    'tab behind a colon': (changed('scale: 4', 'scale:\t4'), ['line 3', 'Write spaces instead of tabs.']),
    'no-break space': (changed('  val_freq: 2', '\u00a0 val_freq: 2'), ['Line 77 holds a no-break space']),
    'no space behind a colon': (changed('scale: 4', 'scale:4'), ['line 3', 'not `key: value`']),
    'full-width colon': (changed('scale: 4', 'scale\uff1a4'), ['line 3', 'not `key: value`']),
    'conflict of a merge': (changed('scale: 4', '<<<<<<< HEAD\nscale: 4'), ['line 3', 'not `key: value`']),
    'duplicate key': (f'{GOOD}scale: 4\n', ['line 83', "key 'scale' appears twice"]),
    'octal': (changed('manual_seed: 0', 'manual_seed: 0123'), ['line 5', '0123 is 83 in YAML', 'quotes']),
    'minutes': (changed('total_iter: 2', 'total_iter: 1:30'), ['line 71', '1:30 is 90 in YAML']),
    'minutes and a half': (changed('lr: 0.0001', 'lr: 1:30.5'), ['1:30.5 is 90.5 in YAML']),
    'leading zero': (changed('total_iter: 2', 'total_iter: 08'), ['train.total_iter', "found '08'"]),
    'power of ten': (changed('total_iter: 2', 'total_iter: 1e5'), ['train.total_iter', 'Write 100000.']),
    'float tag': (changed('val_freq: 2', 'val_freq: !!float 5e3'), ['val.val_freq', 'Write 5000.']),
    'section without keys': (
        GOOD[: GOOD.index('train:\n  teacher')] + 'train:\n',
        ['train: missing, expected a section'],
    ),
    'date': (changed('name: tiny', 'name: 2024-05-01'), ['name', 'date(2024, 5, 1)', 'needs quotes']),
    'number as a name': (changed('name: tiny', 'name: 20240501'), ['name', 'needs quotes']),
    'no as a name': (changed('name: tiny', 'name: no'), ['name', 'found False', 'needs quotes']),
    'decimal comma': (changed('lr: 0.0001', 'lr: 0,0001'), ['train.optim_g.lr', "found '0,0001'"]),
    'comma at the end': (changed('scale: 4', 'scale: 4,'), ['scale', "found '4,'"]),
    'tuple': (changed('    betas:\n    - 0.9\n    - 0.99\n', '    betas: (0.9, 0.99)\n'), ["found '(0.9, 0.99)'"]),
    'backslashes': (changed('gt: hr', 'gt: "C:\\data\\hr"'), ['line 17', 'single quotes, or write /']),
    'two documents': (f'{GOOD}---\n{GOOD}', ['line 83', 'remove what begins with ---']),
    'UTF-16': (GOOD.encode('utf-16'), ['UTF-16', 'Save it as UTF-8.']),
    'Latin-1': (f'# größe\n{GOOD}'.encode('latin-1'), ['line 1', 'Save it as UTF-8.']),
    'empty': ('# name: tiny\n', ['expected a mapping of options, found nothing']),
    'alias to nothing': (changed('path: {}', 'path: *p'), ['line 34', "undefined alias 'p'"]),
    'foreign tag': (changed('path: {}', 'path: !include other.yml'), ['line 34', "'!include'"]),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(tmp_path, case):
    content, words = REFUSED[case]
    with pytest.raises(OptionError) as caught:
        read(tmp_path, content)
    for word in words:
        assert word in str(caught.value)


def test_nothing_is_advised_that_is_there(tmp_path):
    with pytest.raises(OptionError) as caught:
        read(tmp_path, REFUSED['section without keys'][0])
    assert caught.value.way_out == ''


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / 'run.yml').write_text(GOOD)
    for name, words in {'RUN.yml': "Did you mean 'run.yml'?", 'run.yaml': "Did you mean 'run.yml'?"}.items():
        with pytest.raises(MissingFileError, match=r'-opt: .*does not exist') as caught:
            load_options(tmp_path / name)
        assert words in caught.value.way_out
    os.mkfifo(tmp_path / 'pipe.yml')
    with pytest.raises(MissingFileError, match=r'pipe\.yml is a pipe or device, not a file'):
        load_options(tmp_path / 'pipe.yml')


def test_points_between_the_sections_of_the_command_line():
    with pytest.raises(OptionError, match=r'Colons separate sections: train:total_iter=4'):
        apply_overrides(run_options(), ['train.total_iter=4'])


def test_numbers_of_the_command_line():
    with pytest.raises(OptionError, match='010 is 8 in YAML'):
        apply_overrides(run_options(), ['manual_seed=010'])


@pytest.mark.parametrize('text', [f'\ufeff{GOOD}', f'# größe\r\n{GOOD}', GOOD.replace('\n', '\r')])
def test_the_copy_of_a_run_is_an_option_file(tmp_path, monkeypatch, text):
    """Whatever the system's encoding is."""
    monkeypatch.setattr('sys.argv', ['basicsr', '-opt', 'run.yml', '--force_yml', 'name=a\nb'])
    monkeypatch.setattr(io, 'text_encoding', lambda given, *_: given or 'ascii')
    expected = read(tmp_path, text).file
    (tmp_path / 'copy').mkdir()
    copy_option_file(TrainingRun(), str(tmp_path / 'run.yml'), str(tmp_path / 'copy'))
    assert RunOptions.of(load_options(tmp_path / 'copy' / 'run.yml')).file == expected
    assert '# basicsr -opt run.yml --force_yml name=a b\n' in (tmp_path / 'copy' / 'run.yml').read_text('utf-8')
