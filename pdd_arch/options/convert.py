"""From an option file of the paper's released code (https://github.com/Yuehan717/PDD) to one of ours.

Every value of the file is accounted for: it is carried over, or it stands in the list of those that are not, with the
reason. A default of the released code that differs from ours is written out. The keys and their defaults are those of
the released option files and of the code that reads them (`SRGANRefModel`, `DistillationLoss`, `WeightedWvtLoss`,
`BlindPairedImageDataset`), in both published versions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.options import schema
from pdd_arch.options.convert_data import convert_training_data
from pdd_arch.options.convert_source import UNKNOWN, Source, whole
from pdd_arch.options.fields import Section
from pdd_arch.utils.registration import registered

MODEL_TYPE = 'SRGANRefModel'

_NETWORK_NAMES = {'UNetDiscriminatorWithSpectralNorm': 'UNetDiscriminatorSN'}
#: arguments of the released BSRGANRRDBNet -> of RRDBNet
_BSRGAN = {'in_nc': 'num_in_ch', 'out_nc': 'num_out_ch', 'nf': 'num_feat', 'nb': 'num_block', 'gc': 'num_grow_ch'}
_BSRGAN_DEFAULTS = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32}

_NO_TEACHER = 'with use_net_g_ema: true the teacher is the moving average, and no other network is built'


@dataclass
class Conversion:
    """A converted option file for `basicsr train`.

    Attributes:
        not_carried: (key, value, reason) of each value that has no counterpart.
        remarks: what means something else although it was carried over.
    """

    options: dict[str, Any]
    not_carried: list[tuple[str, object, str]]
    remarks: list[str]


def convert_options(released: Mapping[str, Any]) -> Conversion:
    """Convert the options of a released file, as read from YAML; the result has not been checked yet."""
    datasets = released.get('datasets')
    if released.get('model_type') != MODEL_TYPE or not isinstance(datasets, Mapping) or 'train_s' not in datasets:
        raise OptionError(
            repr(released.get('model_type')),
            where='model_type',
            expected=f'a training file of the released code: model_type {MODEL_TYPE}, with datasets.train_s, '
            'datasets.train_t and train.domain_opt',
        )
    source = Source(released)
    top = ('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'find_unused_parameters')
    out: dict[str, Any] = {key: source.take(key) for key in top if source.has(key)} | {'model_type': 'PDDModel'}
    scale = out.get('scale', 4)
    if not isinstance(scale, int) or isinstance(scale, bool) or scale < 1:
        raise OptionError(repr(scale), where='scale', expected='a whole number of at least 1')
    uses_ema = source.take_a('train.use_net_g_ema', False)
    out['datasets'] = {'train': convert_training_data(source, scale)}
    for phase in [p for p in datasets if p not in ('train_s', 'train_t')]:
        out['datasets'][phase] = _validation_data(source, f'datasets.{phase}')
    out['network_g'] = _network(source, 'network_g')
    if uses_ema:
        source.drop('network_g_fix', _NO_TEACHER)
    else:
        out['network_teacher'] = _network(source, 'network_g_fix')
    if source.has('network_d'):
        out['network_d'] = _network(source, 'network_d')
    out['path'] = _paths(source, uses_ema)
    out['train'] = _train(source, uses_ema)
    if source.has('val'):
        out['val'] = _validation(source)
    for key, known in (('logger', schema.LoggerOptions.model_fields), ('dist_params', schema.DistOptions.model_fields)):
        if source.has(key):
            out[key] = source.take_known(key, known)
    source.drop('', UNKNOWN)
    if out['path'].get('param_key_g', 'params') != 'params_ema' and uses_ema:
        source.remarks.append(
            'path.param_key_g: the released code starts the moving average from params_ema of that file whatever '
            'this key says; here it starts from the same weights as the trained network.'
        )
    return Conversion(out, source.not_carried, source.remarks)


# ---------------------------------------------------------------- networks and weights
def _network(source: Source, key: str) -> dict[str, Any]:
    if not source.has(f'{key}.type'):
        raise OptionError('missing', where=f'{key}.type', expected='the name of a network')
    kind, given = source.take_a(f'{key}.type', ''), source.take_all(key)
    if kind != 'BSRGANRRDBNet':
        return {'type': _NETWORK_NAMES.get(kind, kind), **given}
    if given.pop('sf', 4) != 4:
        raise OptionError(
            'BSRGANRRDBNet with another factor than 4 is not in BasicSR',
            where=f'{key}.sf',
            way_out='Write network_g: {type: SpandrelNet, path: FILE} by hand.',
        )
    return {'type': 'RRDBNet', **_BSRGAN_DEFAULTS, **{_BSRGAN.get(name, name): v for name, v in given.items()}}


def _paths(source: Source, uses_ema: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in source.names('path'):
        path = f'path.{key}'
        if key.endswith('_g_fix'):
            if uses_ema:
                source.drop(path, _NO_TEACHER)
            else:
                out[key.replace('g_fix', 'teacher')] = source.take(path)
        elif key == 'ignore_resume_networks':
            _ignored(source, path, out)
        elif key in schema.PathOptions.model_fields:
            out[key] = source.take(path)
    return out


def _ignored(source: Source, path: str, out: dict[str, Any]) -> None:
    value = source.take(path)
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list):
        raise OptionError(repr(value), where=path, expected='a list of names')
    if 'network_g_fix' in names:
        source.note(
            path,
            value,
            'the static teacher always comes from path.pretrain_network_teacher. Compared as a piece of text, this '
            "made the released code pass over network_g's own checkpoint too",
        )
    rest = [n for n in names if n != 'network_g_fix']
    if rest:
        out['ignore_resume_networks'] = rest


# ---------------------------------------------------------------- training
def _train(source: Source, uses_ema: bool) -> dict[str, Any]:
    take = source.take
    out: dict[str, Any] = {'teacher': 'ema' if uses_ema else 'static', 'ema_decay': take('train.ema_decay', 0)}
    feature_net: dict[str, Any] = {'type': 'vgg19', 'weights': 'imagenet'}
    if source.has('train.domain_opt'):
        distill, feature_net = _distillation(source)
        out |= {'feature_net': feature_net, 'distill_opt': distill}
    out['distill_warmup_iters'] = whole(take('train.domain_opt_warmup_iters', 0))
    out['detach_synthetic'] = take('train.domain_opt_detach', True)
    out['gan_on_real'] = not source.take_a('train.domain_opt_wogan', False)
    out['net_d_iters'] = whole(take('train.net_d_iters', 1))
    out['net_d_init_iters'] = whole(take('train.net_d_init_iters', 0))
    if source.has('train.pixel_opt'):
        out['pixel_opt'] = _pixel(source)
    if source.has('train.perceptual_opt'):
        out['perceptual_opt'] = _perceptual(source, feature_net)
        out.setdefault('feature_net', feature_net)
    out |= source.take_known('train', ('gan_opt', 'optim_g', 'optim_d', 'scheduler', 'total_iter', 'warmup_iter'))
    source.only('train.fix_backbone', False, 'the released code reads it and does nothing with it')
    return out


def _distillation(source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    path = 'train.domain_opt'
    kind = source.take(f'{path}.type')
    if kind != 'DistillationLoss':
        raise OptionError(repr(kind), where=f'{path}.type', expected='DistillationLoss')

    def take(name: str, default: object) -> object:
        return source.take(f'{path}.{name}', default)

    # the first version of the option files has the other names
    inter, intra = (source.take_first(path, (f'r{name}', name), 1.0) for name in ('inter_weight', 'intra_weight'))
    # the documentation of the released class says ce, its code l1
    criterion = source.take_a(f'{path}.cri_intra', 'l1')
    out = {
        'type': 'PairwiseDistanceLoss',
        'inter_layers': take('layer_weights_inter', {}),
        'intra_layers': take('layer_weights_intra', {}),
        'inter_weight': inter,
        'intra_weight': intra,
        'inter_distance': take('delta_inter_type', 'gram_change'),
        'intra_distance': take('delta_intra_type', 'l1'),
        'intra_criterion': {'cosine_sim': 'cosine_released'}.get(criterion, criterion),
    }
    source.only(f'{path}.cri_inter', 'fro', 'inter-model distances are compared by the Frobenius norm')
    network = source.take_first(path, ('model_type', 'vgg_type'), 'vgg19')
    feature_net = {
        'type': network if 'vgg' in str(network) else 'alexnet',
        'weights': 'imagenet',
        'use_input_norm': take('use_input_norm', True),
        'range_norm': take('range_norm', False),
    }
    return out, feature_net


def _pixel(source: Source) -> dict[str, Any]:
    path = 'train.pixel_opt'
    kind = source.take(f'{path}.type')
    if kind != 'WeightedWvtLoss':
        return {'type': kind, **source.take_all(path)}
    source.only(f'{path}.reduction', 'mean', 'the wavelet loss is a mean')
    weights = source.take(f'{path}.weights', [1, 0.5, 0.1])
    return {'type': 'HaarWaveletLoss', 'loss_weight': source.take(f'{path}.loss_weight', 1), 'weights': weights}


def _perceptual(source: Source, feature_net: dict[str, Any]) -> dict[str, Any]:
    path = 'train.perceptual_opt'
    for ours, default in (('type', 'vgg19'), ('use_input_norm', True), ('range_norm', False)):
        wanted, name = feature_net.setdefault(ours, default), 'vgg_type' if ours == 'type' else ours
        source.only(f'{path}.{name}', wanted, f'one train.feature_net serves all losses: {ours} {wanted}')
    return {'type': 'PerceptualLoss', **source.take_known(path, schema.PerceptualOptions.model_fields)}


# ---------------------------------------------------------------- validation and logs
def _validation_data(source: Source, path: str) -> dict[str, Any]:
    kind = source.take_a(f'{path}.type', 'PairedImageDataset')
    sets: dict[str, type[Section]] = {
        'PairedImageDataset': schema.PairedSet,
        'SingleImageDataset': schema.SingleSet,
    }
    if kind not in sets:
        return {'type': kind, **source.take_all(path)}
    return {'type': kind, **source.take_known(path, sets[kind].model_fields)}


def _validation(source: Source) -> dict[str, Any]:
    metrics = {}
    for name in source.names('val.metrics'):
        path = f'val.metrics.{name}'
        kind = source.take_a(f'{path}.type', '')
        if registered(METRIC_REGISTRY, kind) is None:
            source.note(f'{path}.type', kind, 'no metric of that name is registered here')
            source.drop(path, 'of that metric')
            continue
        if kind == 'calculate_lpips':
            source.drop(f'{path}.test_y_channel', "neither code's LPIPS reads it")
            source.remarks.append(
                f'{path}: the released metric hands BGR images to LPIPS and converts nothing; here they are RGB, as '
                'LPIPS is defined. The numbers differ.'
            )
        metrics[name] = {'type': kind, **source.take_all(path)}
    out = source.take_known('val', schema.ValOptions.model_fields)
    return {**out, 'metrics': metrics} if metrics else out


def report_lines(conversion: Conversion) -> Iterator[str]:
    """What was not carried over and what means something else, a line each."""
    for key, value, reason in conversion.not_carried:
        yield f'not carried: {key}: {value!r} ({reason})'
    for text in conversion.remarks:
        yield f'remark: {text}'
