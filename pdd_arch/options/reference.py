"""Writes ``options/README.md`` and ``options/schema.json``: ``python -m pdd_arch.options.reference``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pdd_arch.options import schema
from pdd_arch.options.degradation import LRSynthesisOptions
from pdd_arch.options.messages import describe, document

FOLDER = Path(__file__).resolve().parents[2] / 'options'

#: sections in the order of the reference: heading, where it stands in a file
SECTIONS: dict[type[BaseModel], tuple[str, str]] = {
    schema.Options: ('The file', ''),
    schema.Network: ('Networks', '`network_g`, `network_teacher`, `network_d`'),
    schema.PathOptions: ('Weights', '`path`'),
    schema.TrainOptions: ('Training', '`train`'),
    schema.FeatureNetOptions: ('Feature network', '`train.feature_net`'),
    schema.PairwiseDistanceOptions: ('PairwiseDistanceLoss', '`train.distill_opt`'),
    schema.FeatureDistillationOptions: ('FeatureDistillationLoss', '`train.distill_opt`'),
    schema.ContrastiveDistillationOptions: ('ContrastiveDistillationLoss', '`train.distill_opt`'),
    schema.OutputDistillationOptions: ('OutputDistillationLoss', '`train.distill_opt`'),
    schema.OtherDistillation: ('Other distillation losses', '`train.distill_opt`'),
    schema.PerceptualOptions: ('Perceptual loss', '`train.perceptual_opt`'),
    schema.Loss: ('Other losses', '`train.pixel_opt`, `train.gan_opt`'),
    schema.ExtraLossOptions: ('Extra losses', '`train.extra_losses`'),
    schema.Optimizer: ('Optimizers', '`train.optim_g`, `train.optim_d`'),
    schema.MultiStep: ('Step schedule', '`train.scheduler`'),
    schema.CosineAnnealing: ('Cosine schedule', '`train.scheduler`'),
    schema.OtherSchedule: ('Other schedules', '`train.scheduler`'),
    schema.UnpairedAdaptationSet: ('Training data', '`datasets.train`'),
    LRSynthesisOptions: ('LR synthesis', '`datasets.train.lr_synthesis`'),
    schema.PairedSet: ('Pairs', '`datasets.val`, `datasets.test_1` ...'),
    schema.SingleSet: ('Images without ground truth', '`datasets.val`, `datasets.test_1` ...'),
    schema.OtherSet: ('Other data', '`datasets`'),
    schema.IoBackend: ('Files', '`datasets.*.io_backend`'),
    schema.ValOptions: ('Validation', '`val`'),
    schema.Metric: ('Metrics', '`val.metrics.NAME`'),
    schema.LoggerOptions: ('Logs and checkpoints', '`logger`'),
    schema.WandbOptions: ('Weights & Biases', '`logger.wandb`'),
    schema.DistOptions: ('Several processes', '`dist_params`'),
}

INTRODUCTION = """# Options

<!-- written by `python -m pdd_arch.options.reference`; do not edit -->

Every option that a file for `model_type: PDDModel` can have. `basicsr train -opt FILE.yml --check` checks a file, its
data and its weights and says what would run, without writing anything. Editors that know JSON Schema (VS Code with its
YAML extension) complete and check these files through [`schema.json`](schema.json), which their first line names.

- An unknown key is an error in every section. `~` means that an option is not set. `1e-4` is a number.
- Sections marked **open** hold, besides the keys below, the arguments of the class that `type` names: its signature
  decides which keys exist. A network, loss, dataset or metric of your own therefore needs no entry here.
- Where an option is BasicSR's own (`datasets`, `path`, `val`, `logger`, `dist_params`, `optim_*`, `scheduler`), its
  meaning is BasicSR's.
- `--force_yml a:b=c` sets `a.b` for one run. `c` is read as YAML; `a.b` must be a key of the file or of this reference.
"""


def reference() -> str:
    """The text of ``options/README.md``."""
    return '\n'.join([INTRODUCTION, *(_section(model, *where) for model, where in SECTIONS.items())])


def _section(model: type[BaseModel], heading: str, place: str) -> str:
    node = document(model)
    is_open = node.get('additionalProperties') is not False
    where = f'{place}{", **open**" if is_open else ""}. ' if place else ''
    text = ' '.join((model.__doc__ or '').split()).replace('``', '`')
    table = ['| option | expected | default | meaning |', '|---|---|---|---|']
    lines = [f'## {heading}', '', f'{where}{text}', '', *table]
    return '\n'.join([*lines, *_rows(node), ''])


def _rows(node: Mapping[str, Any]) -> Iterator[str]:
    for name, option in node['properties'].items():
        expected = describe(option).replace('|', '\\|')
        meaning = option.get('description', '').replace('|', '\\|')
        yield f'| `{name}` | {expected} | {_default(name, option, node)} | {meaning} |'


def _default(name: str, option: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    if name in node.get('required', ()):
        return '**required**'
    if 'x-default' in option:
        return str(option['x-default'])
    value = option.get('default')
    if value is None:
        return 'none'
    if isinstance(value, Mapping):
        return '`{' + ', '.join(f'{k}: {v:g}' for k, v in value.items()) + '}`'
    return f'`{json.dumps(value).replace(chr(34), "")}`'


def json_schema() -> dict[str, Any]:
    """The content of ``options/schema.json``."""
    content = schema.Options.model_json_schema()
    content['properties']['datasets']['additionalProperties'].pop('discriminator', None)
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Option file of pdd_arch (model_type: PDDModel)',
        **{k: _plain(v) for k, v in content.items() if k != 'title'},
    }


def _plain(node: object) -> object:
    """Without what pydantic adds for itself: titles of fields, discriminators, our notes."""
    if isinstance(node, list):
        return [_plain(v) for v in node]
    if not isinstance(node, dict):
        return node
    dropped = ('x-expected', 'x-default', 'x-example', 'discriminator')
    return {k: _plain(v) for k, v in node.items() if k not in dropped and not (k == 'title' and isinstance(v, str))}


def main() -> None:
    """Write both files."""
    (FOLDER / 'README.md').write_text(reference(), encoding='utf-8')
    (FOLDER / 'schema.json').write_text(json.dumps(json_schema(), indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
