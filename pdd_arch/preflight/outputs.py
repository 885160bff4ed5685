"""Checks of what a run writes: its folders, its log and the checkpoints that it keeps."""

import importlib.util
import os

from pdd_arch.errors import OptionError
from pdd_arch.metrics.assignment import metrics_of_set
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.metrics import metric_sections, validated_sets
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key

#: parts of keys of ``path`` that are not made folders of by BasicSR's `make_exp_dirs`
_NO_FOLDERS = ('strict_load', 'pretrain_network', 'resume', 'param_key')
#: keys that the run sets itself
OUTPUT_FOLDERS = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')


def check_logger(options: RunOptions) -> None:
    """What the log and the checkpoints need is there."""
    logger = options.file.logger
    assert logger is not None
    project = None if logger.wandb is None else logger.wandb.project
    for key in ('name', 'entity', 'tags', 'mode'):
        if project is None and getattr(logger.wandb, key, None) is not None:
            raise OptionError(
                'given, but logger.wandb.project is not, without which nothing is sent',
                where=f'logger.wandb.{key}',
                way_out=f'Set logger.wandb.project, or remove logger.wandb.{key}.',
            )
    if project is not None and not logger.use_tb_logger:
        raise OptionError(
            'given, but logger.use_tb_logger is false', where='logger.wandb.project', way_out='Set it to true.'
        )
    for package, key, needed in (
        ('wandb', 'wandb.project', project is not None),
        ('tensorboard', 'use_tb_logger', logger.use_tb_logger),
    ):
        if needed and importlib.util.find_spec(package) is None:
            raise OptionError(
                f'needs the package {package}',
                where=f'logger.{key}',
                way_out=f'Install it with: pip install {package}',
            )
    if logger.keep_best is not None:
        _check_best(options, logger.keep_best)


def _check_best(options: RunOptions, best: str) -> None:
    where, val = 'logger.keep_best', options.file.val
    metrics, sections = metric_sections(options), validated_sets(options)
    sets = {s['name']: metrics_of_set(metrics, s, f'datasets.{phase}') for phase, s in sections.items()}
    if val is None or not sets:
        raise OptionError(
            f'{best!r}, but nothing is validated', where=where, way_out=f'Add val and datasets.val, or remove {where}.'
        )
    dataset, _, metric = best.rpartition('/')
    wanted = [('no metric {} in val.metrics', metric, list(metrics))]
    if dataset:
        wanted.append(('no validation dataset is named {}', dataset, list(sets)))
    for problem, name, known in wanted:
        if name not in known:
            expected, hint = one_of(known) if known else 'one there', did_you_mean(name, known)
            raise OptionError(problem.format(repr(name)), where=where, expected=expected, way_out=hint)
    measured = [name for name, own in sets.items() if metric in own and dataset in ('', name)]
    if not measured:
        which = f'{dataset!r} is not' if dataset else 'no validation dataset is'
        expected = one_of(sets[dataset]) if sets.get(dataset) else ''
        raise OptionError(f'{which} measured with {metric!r}', where=where, expected=expected)
    if len(measured) > 1:
        raise OptionError(
            f'{best!r}, but there are {len(measured)} validation datasets',
            where=where,
            way_out=f'Write {measured[0]}/{metric}.',
        )


def _check_path_keys(options: RunOptions) -> None:
    """BasicSR makes a folder of the value of every other key of ``path``, whatever it was meant for."""
    for key, value in options.file.path.given().items():
        if any(part in key for part in _NO_FOLDERS) or key in OUTPUT_FOLDERS:
            continue
        of_weights = key.startswith('pretrain_')  # of BasicSR before 1.2, or misspelt
        hint = did_you_mean(key, type(options.file.path).model_fields, cutoff=0.75)
        raise OptionError(
            f'{show(value)}, but BasicSR makes a folder of every key here that it does not know',
            where=f'path.{show_key(key)}',
            way_out=f'Did you mean {f"pretrain_network_{key[-1]}"!r}?' if of_weights else f'{hint} Remove it.'.strip(),
        )


def check_outputs(options: RunOptions) -> None:
    """The folders that the run writes to can be made."""
    _check_path_keys(options)
    folders = [options.output_folder]
    if options.file.logger is not None and options.file.logger.use_tb_logger:
        folders.append(os.path.join(options.root_path, 'tb_logger', options.name))
    for folder in folders:
        parent = os.path.dirname(folder)
        while not os.path.lexists(parent) and os.path.dirname(parent) != parent:
            parent = os.path.dirname(parent)
        shown, elsewhere = os.path.relpath(parent), 'or start from another directory.'
        if not os.path.isdir(parent):
            problem, way_out = f'{shown} is a file', f'Move it away, {elsewhere}'
        elif not os.access(parent, os.W_OK | os.X_OK):
            problem, way_out = f'the folder {shown} is not writable', f'Make it writable, {elsewhere}'
        else:
            continue
        raise OptionError(f'the run writes to {os.path.relpath(folder)}, but {problem}', where='name', way_out=way_out)
