"""Every flag, option key and command that a message names is there."""

import argparse
import ast
import re
from pathlib import Path

import pytest
from helpers import run_options
from pydantic import BaseModel

from pdd_arch.commands import basicsr_cli, pdd_cli
from pdd_arch.options import schema
from pdd_arch.options.run_options import RunOptions

PACKAGE = Path(__file__).parents[1] / 'pdd_arch'
#: stands for what is filled in when the message is made
FILLED = '\0'
SECTIONS = ('path', 'train', 'val', 'logger', 'datasets')

#: of torchrun, git, pip and Docker
FOREIGN_FLAGS = {
    '--nproc_per_node',
    '--abbrev',
    '--always',
    '--dirty',
    '--full-name',
    '--force-reinstall',
    '--shm-size',
}
#: names of opened sources, which look like keys
SOURCES = {'train.gt', 'train.lq'}
#: files about option files of other code
OTHERS = 'options/convert'


def literals():
    """(file, line, text) of every string of the package that is no docstring."""
    for file in sorted(PACKAGE.rglob('*.py')):
        tree = ast.parse(file.read_text(encoding='utf-8'))
        passed = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                passed.add(node.value)
            if isinstance(node, ast.JoinedStr):
                passed.update(node.values)
                text = ''.join(v.value if isinstance(v, ast.Constant) else FILLED for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed:
                text = node.value
            else:
                continue
            yield f'{file.relative_to(PACKAGE)}:{node.lineno}', text


def named(pattern):
    """{what a message names: where} for all matches of a pattern."""
    return {match.group(1): where for where, text in literals() for match in re.finditer(pattern, text)}


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def option_keys(model, prefix=''):
    """Dotted keys of a section and of those below; one that may hold other keys ends in a dot as well."""
    if model.model_config.get('extra') == 'allow' and model is not schema.OtherSet:
        yield prefix
    for name, field in model.model_fields.items():
        key = f'{prefix}{field.alias or name}'
        yield key
        for below in models(field.annotation):
            yield from option_keys(below, f'{key}.PHASE.' if key in ('datasets', 'val.metrics') else f'{key}.')


def models(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in (
        *getattr(annotation, '__args__', ()),
        *([annotation.__origin__] if hasattr(annotation, '__metadata__') else []),
    ):
        yield from models(argument)


def is_known(key, known):
    """Whether an option key, of which parts may be filled in later, is one of the schema or in an open section."""
    key = re.sub(r'^(datasets|val\.metrics)\.[^.]+', r'\1.PHASE', key)
    pattern = re.escape(key).replace(FILLED, r'[\w.]*') + (r'\w*' if key.endswith('_') else '')
    return key.endswith('PHASE') or any(
        re.fullmatch(pattern, other) or (other.endswith('.') and key.startswith(other)) for other in known
    )


def test_flags_exist():
    known = {
        flag
        for root in (pdd_cli._parser(), basicsr_cli._parser())
        for one in parsers(root)
        for flag in one._option_string_actions
    }
    found = named(r'(?<![\w-])(--[a-z][\w-]*)(?!\0)')
    assert {flag: where for flag, where in found.items() if flag not in known | FOREIGN_FLAGS} == {}


def test_option_keys_exist():
    known = {
        *option_keys(schema.Options),
        *(f'path.{key}' for key in RunOptions.of(run_options()).for_basicsr()['path']),
    }
    found = named(rf'(?<![\w./-])((?:{"|".join(SECTIONS)})\.[\w.{FILLED}]*[\w{FILLED}])')
    assert len(found) > 50
    unknown = {key: where for key, where in found.items() if key not in SOURCES and not is_known(key, known)}
    assert {key: where for key, where in unknown.items() if not where.startswith(OTHERS)} == {}


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('train.ema_decay', True),
        ('train.ema_decy', False),
        (f'path.param_key_{FILLED}', True),
        (f'path.param_kye_{FILLED}', False),
        ('datasets.val.dataroot_gt', True),
        (f'datasets.{FILLED}.dataroot_hr', False),
        ('train.pixel_opt.loss_weight', True),
        ('val.metrics.psnr.crop_border', True),
        ('val.metrix', False),
    ],
)
def test_what_is_a_known_key(key, expected):
    assert is_known(key, set(option_keys(schema.Options))) == expected


@pytest.mark.parametrize(('program', 'cli'), [('pdd', pdd_cli), ('basicsr', basicsr_cli)])
def test_commands_exist(program, cli):
    (commands,) = (a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    found = named(rf'(?<![\w/.-]){program} ([a-z][a-z-]+)')
    assert {name: where for name, where in found.items() if name not in commands.choices} == {}
