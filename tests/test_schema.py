"""The schema of the options: what is generated from it is current, editors accept the shipped files."""

import inspect
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import ForwardRef, Literal, get_args, get_origin

import jsonschema
import pytest
from basicsr.utils.registry import LOSS_REGISTRY
from helpers import run_options

from pdd_arch.data.section import read_section
from pdd_arch.degradations import lr_synthesis
from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet
from pdd_arch.features.feature_net import NETWORK_TYPES
from pdd_arch.inference import PRECISIONS
from pdd_arch.losses import FeaturePerceptualLoss, distance_loss
from pdd_arch.losses.supervised import CRITERIA
from pdd_arch.options import fields, reference, schema
from pdd_arch.options.messages import describe, document, validated
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.settings import AdaptationSettings, val_options
from pdd_arch.options.yaml_file import load_options

OPTIONS = Path(__file__).parents[1] / 'options'
ALL = sorted(path.stem for path in OPTIONS.glob('*.yml'))
DISTILLATION = schema.DISTILLATION


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


def names_in(annotation) -> list[str]:
    """Classes that an annotation names as text."""
    if isinstance(annotation, str | ForwardRef):
        return [str(annotation)]
    if get_origin(annotation) is Literal:
        return []
    return [name for argument in get_args(annotation) for name in names_in(argument)]


def test_sections_name_classes_themselves():
    """Python 3.10 looks a name given as text up in the module of a derived class, which need not know it."""
    sections = [one for one in vars(schema).values() if inspect.isclass(one) and issubclass(one, schema.Section)]
    texts = {f'{one.__name__}.{k}': names_in(v) for one in sections for k, v in inspect.get_annotations(one).items()}
    assert {where: names for where, names in texts.items() if names} == {}


def test_every_option_has_a_meaning():
    for model in reference.SECTIONS:
        for name, option in document(model)['properties'].items():
            assert option.get('description'), f'{model.__name__}.{name}'
            assert describe(option) != 'a value'


def test_every_section_is_in_the_reference():
    models = {m for m in vars(schema).values() if isinstance(m, type) and issubclass(m, fields.Section)}
    hidden = {fields.Section, fields.OpenSection}
    assert {m for m in models - hidden if not m.__name__.startswith('_')} == set(reference.SECTIONS)


@pytest.mark.parametrize('model', DISTILLATION, ids=lambda m: m.__name__)
def test_losses_have_the_options_of_their_signature(model):
    (kind,) = schema.types_of(model)
    assert set(inspect.signature(LOSS_REGISTRY.get(kind)).parameters) == set(model.model_fields) - {'type'}


def test_features_have_the_options_of_their_signature():
    names = set(inspect.signature(FeatureNet).parameters) - {'layers'}
    assert names == set(schema.FeatureNetOptions.model_fields)
    own = set(inspect.signature(FeaturePerceptualLoss).parameters)
    assert set(schema.PerceptualOptions.model_fields) - own == {'type', 'vgg_type', 'use_input_norm', 'range_norm'}


def choices(owner, option):
    """Fixed values of an option, whatever else it may be."""
    return set(re.findall(r"'([^']+)'", describe(document(owner)['properties'][option])))


def test_choices_are_those_of_the_code():
    for option, known in distance_loss.CHOICES.items():
        assert choices(schema.PairwiseDistanceOptions, option) == set(known)
    assert choices(schema.PerceptualOptions, 'criterion') == set(CRITERIA)
    assert choices(schema.FeatureNetOptions, 'type') == choices(schema.PerceptualOptions, 'vgg_type')
    assert choices(schema.FeatureNetOptions, 'type') == set(NETWORK_TYPES)
    assert choices(schema.LRSynthesisOptions, 'resize') == set(lr_synthesis.KERNELS)
    assert choices(schema.LRSynthesisOptions, 'degradation') == {'real_esrgan'}
    assert choices(schema.TrainOptions, 'precision') == {'auto', *PRECISIONS}


# ---------------------------------------------------------------- defaults
def required_only(section, known):
    """The smallest content of a section: what `known`, a larger one, has of its required keys."""
    names = {name for name, field in section.model_fields.items() if field.is_required()}
    return {name: known[name] for name in known if name in names}


def test_settings_have_the_defaults_of_the_schema():
    """A consumer that reads the typed tree gets what the reference says, or what depends on other options."""
    known = run_options()['train']
    given = required_only(schema.TrainOptions, known) | {'distill_opt': known['distill_opt']}
    options = RunOptions.of(run_options() | {'train': given})
    for settings in (options.train, AdaptationSettings.from_options(dict(train=given))):
        dependent = {'distill_warmup_iters': 5, 'detach_synthetic': False, 'net_d_init_iters': 0}
        assert {name: getattr(settings, name) for name in dependent} == dependent
        assert settings.feature_net == schema.FeatureNetOptions()
        for name, field in schema.TrainOptions.model_fields.items():
            if name not in given and name not in dependent and name != 'feature_net':
                assert getattr(settings, name) == field.default, name


UNPAIRED = dict(dataroot_gt='a', dataroot_lq='b', gt_size=32, scale=4)


@pytest.mark.parametrize(
    ('section', 'read', 'given'),
    [
        (
            schema.UnpairedAdaptationSet,
            lambda opt: read_section(opt)[0],
            dict(dataroot_gt='a', dataroot_lq='b', gt_size=32, scale=4),
        ),
        (schema.ValOptions, val_options, {}),
    ],
)
def test_sections_have_the_defaults_of_the_schema(section, read, given):
    found = read(given)
    for name, field in section.model_fields.items():
        if name not in given and not field.is_required():
            assert getattr(found, name) == field.default, name


def test_sections_know_what_basicsr_adds():
    opt = RunOptions.of(run_options()).for_basicsr()
    found, scale, seed = read_section(opt['datasets']['train'])
    assert (scale, seed, found.gt_size) == (4, 0, 32)
    assert val_options(opt).val_freq == 2
    with pytest.raises(OptionError, match=r"datasets\.train\.cache: expected .*Did you mean 'ram'"):
        read_section(opt['datasets']['train'] | {'cache': 'rma'})


def test_losses_have_the_defaults_of_the_schema():
    """Also built without an option file."""
    for model, cls in ((m, LOSS_REGISTRY.get(*schema.types_of(m))) for m in DISTILLATION):
        for name, parameter in inspect.signature(cls).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert model.model_fields[name].default == parameter.default, f'{cls.__name__}: {name}'


# ---------------------------------------------------------------- BasicSR's dictionary
def test_basicsr_gets_what_the_file_has_and_what_it_derives(tmp_path):
    given = run_options()
    opt = RunOptions.of(deepcopy(given), root_path=str(tmp_path)).for_basicsr()
    root = tmp_path / 'experiments' / 'tiny'
    derived = {
        'auto_resume': False,
        'is_train': True,
        'dist': False,
        'path': {
            **given['path'],
            'experiments_root': str(root),
            'models': str(root / 'models'),
            'training_states': str(root / 'training_states'),
            'log': str(root),
            'visualization': str(root / 'visualization'),
        },
        'datasets': {
            phase: {'name': phase} | dataset | {'phase': phase, 'scale': 4, 'manual_seed': 0}
            for phase, dataset in given['datasets'].items()
        },
    }
    assert opt == given | derived
    assert json.dumps(opt) == json.dumps(json.loads(json.dumps(opt)))  # whole numbers stay whole: states compare it


def test_basicsr_gets_a_dictionary_of_its_own():
    options = RunOptions.of(run_options())
    options.for_basicsr()['train'].clear()
    assert options.for_basicsr()['train']['total_iter'] == 2


def test_debug_mode():
    options = RunOptions.of(run_options(), debug=True)
    opt = options.for_basicsr()
    assert opt['name'] == options.name == 'debug_tiny'
    assert (opt['logger']['print_freq'], opt['logger']['save_checkpoint_freq'], opt['val']['val_freq']) == (1, 8, 8)
    assert opt['path']['log'] == options.output_folder
