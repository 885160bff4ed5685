"""The schema of the options: what is generated from it is current, editors accept the shipped files."""

import inspect
import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
from basicsr.utils.registry import LOSS_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet
from pdd_arch.losses import FeaturePerceptualLoss
from pdd_arch.options import reference, schema
from pdd_arch.options.command_line import load_options
from pdd_arch.options.messages import describe, document, validated
from pdd_arch.options.settings import AdaptationSettings

OPTIONS = Path(__file__).parents[1] / 'options'
ALL = sorted(path.stem for path in OPTIONS.glob('*.yml'))
DISTILLATION = schema._DISTILLATION


def test_reference_is_current():
    """Run ``python -m pdd_arch.options.reference`` after a change of the schema."""
    assert (OPTIONS / 'README.md').read_text(encoding='utf-8') == reference.reference()


def test_json_schema_is_current():
    assert json.loads((OPTIONS / 'schema.json').read_text(encoding='utf-8')) == reference.json_schema()


@pytest.fixture(scope='module')
def editor():
    content = reference.json_schema()
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


@pytest.mark.parametrize('name', ALL)
def test_editors_accept_the_shipped_files(editor, name):
    file = OPTIONS / f'{name}.yml'
    assert file.read_text(encoding='utf-8').startswith('# yaml-language-server: $schema=schema.json\n')
    assert [e.message for e in editor.iter_errors(load_options(file))] == []


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        (('train', 'ema_decy'), 0.9),
        (('train', 'teacher'), 'emma'),
        (('train', 'distill_opt', 'inter_distance'), 'gram_chang'),
        (('train', 'scheduler', 'type'), 'StepLR'),
        (('datasets', 'train', 'gt_size'), '192'),
        (('datasets', 'val', 'dataroot_hr'), 'x'),
        (('val', 'metrics', 'psnr', 'better'), 'up'),
        (('logger', 'keep_checkpoints'), 0),
    ],
)
def test_editors_and_command_refuse_alike(editor, path, value):
    opt = load_options(OPTIONS / 'pdd_demo.yml')
    section = opt
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    assert list(editor.iter_errors(opt))
    with pytest.raises(OptionError, match=r'\.'.join(path)):
        validated(schema.Options, opt)


def test_every_option_has_a_meaning():
    for model in reference.SECTIONS:
        for name, option in document(model)['properties'].items():
            assert option.get('description'), f'{model.__name__}.{name}'
            assert describe(option, document(model)) != 'a value'


def test_every_section_is_in_the_reference():
    models = {m for m in vars(schema).values() if isinstance(m, type) and issubclass(m, schema.BaseModel)}
    hidden = {schema.BaseModel, schema.Section, schema.OpenSection, schema.BasicOptions}
    assert {m for m in models - hidden if not m.__name__.startswith('_')} == set(reference.SECTIONS)


@pytest.mark.parametrize('model', DISTILLATION, ids=lambda m: m.__name__)
def test_losses_have_the_options_of_their_signature(model):
    (kind,) = schema._types(model)
    assert set(inspect.signature(LOSS_REGISTRY.get(kind)).parameters) == set(model.model_fields) - {'type'}


def test_features_have_the_options_of_their_signature():
    names = set(inspect.signature(FeatureNet).parameters) - {'layers'}
    assert names == set(schema.FeatureNetOptions.model_fields)
    own = set(inspect.signature(FeaturePerceptualLoss).parameters)
    assert set(schema.PerceptualOptions.model_fields) - own == {'type', 'vgg_type', 'use_input_norm', 'range_norm'}


def test_settings_are_options():
    assert {f.name for f in fields(AdaptationSettings)} <= set(schema.TrainOptions.model_fields)
