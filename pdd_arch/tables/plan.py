"""The list of a table: what is in it, spread into cells, and checked before the first of them is trained."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.metrics.assignment import lacks_ground_truth, metrics_of_set
from pdd_arch.metrics.availability import DIRECTIONS
from pdd_arch.options.fields import Section
from pdd_arch.options.messages import validated
from pdd_arch.options.run_options import validated_file, with_imports
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.metrics import check_metric
from pdd_arch.report.table_file import Published
from pdd_arch.utils.resources import option_file
from pdd_arch.utils.wording import did_you_mean, one_of

#: dotted path of a section or key -> what stands there instead; None takes it away
Changes = dict[str, Any]


class Printing(Section):
    """Keys of a metric that a table has besides those of ``val.metrics``."""

    model_config = ConfigDict(extra='ignore')

    decimals: int = Field(4, ge=0, le=10)
    label: str | None = None


class Row(Section):
    """One method: a network that is there already, one that is trained, or interpolation."""

    name: str = Field(min_length=1)
    method: Literal['train', 'start', 'bicubic'] = 'train'  # start: the network before training
    opt: str | None = None  # option file instead of the list's
    changes: Changes = {}  # of the option file
    checkpoint: str | None = None  # weights to measure instead of training, for ``network_g`` after `changes`
    param_key: str | None = 'params_ema'  # of the state dict in the checkpoint
    datasets: list[str] | None = Field(None, min_length=1)  # to measure on; None: all


class Plan(Section):
    """A list file."""

    title: str
    opt: str  # option file that rows start from: a path, or the name of one that ships with the package
    changes: Changes = {}  # of the option file, for all rows
    datasets: dict[str, Changes] = Field(min_length=1)  # changes for a target domain: training data, validation pairs
    rows: list[Row] = Field(min_length=1)
    seeds: list[int] = Field([0], min_length=1)  # of the trained rows (``manual_seed``)
    metrics: dict[str, dict[str, Any]] | None = Field(None, min_length=1)  # ``val.metrics`` with `Printing`
    baseline: str | None = None  # name of the row that others are compared with
    notes: list[str] = []  # sentences that are printed below the table
    published: list[Published] = []  # figures of papers, with their source; printed apart


@dataclass(frozen=True)
class Cell:
    """A network to be measured: one row on one dataset with one seed."""

    row: Row
    dataset: str
    seed: int | None  # None for a row that is not trained
    options: dict[str, Any]  # the complete options of the run

    @property
    def name(self) -> str:
        """Name of the cell's files: letters, digits and underscores."""
        parts = (self.dataset, self.row.name, *([] if self.seed is None else [f'seed{self.seed}']))
        return '_'.join(''.join(c if c.isalnum() else '_' for c in part) for part in parts)

    @property
    def title(self) -> str:
        """Row and dataset, for messages."""
        return f'{self.row.name} on {self.dataset}'

    @property
    def trained(self) -> bool:
        """Whether it is measured after a training run."""
        return self.row.method == 'train' and self.row.checkpoint is None

    @property
    def training_options(self) -> dict[str, Any]:
        """Options of its training run, which has no validation: measuring comes afterwards, for all rows alike."""
        opt = {key: value for key, value in self.options.items() if key != 'val'}
        opt['datasets'] = {key: value for key, value in opt['datasets'].items() if not key.startswith('val')}
        return opt

    @property
    def run_name(self) -> str:
        """Name of its training run, another one for other options: a run continued with others would mix both."""
        return f'{self.name}_{_digest(self.training_options)[:8]}'

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """Those of ``val.metrics`` that the option file measures the set of the table with."""
        metrics, chosen = self.options['val']['metrics'], validation_set(self.options)[1].get('metrics')
        return {name: o for name, o in metrics.items() if chosen is None or name in chosen}

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The columns without what is for printing."""
        return plain(self.columns)

    @property
    def plain_options(self) -> dict[str, Any]:
        """The options without what is for printing."""
        return {**self.options, 'val': {**self.options['val'], 'metrics': plain(self.options['val']['metrics'])}}

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the numbers depend on, except the contents of files."""
        row = {'method': self.row.method, 'checkpoint': self.row.checkpoint, 'param_key': self.row.param_key}
        return _digest({'row': row, 'seed': self.seed, 'options': self.plain_options})


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def plain(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """``val.metrics`` without the keys that are for printing."""
    return {name: {k: v for k, v in o.items() if k not in Printing.model_fields} for name, o in metrics.items()}


def validation_set(opt: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Key and section of an option file's first validation set with ground truth, on which a cell is measured.

    Raises:
        OptionError: there is none.
    """
    for key, section in opt['datasets'].items():
        if key.startswith('val') and not lacks_ground_truth(section):
            return key, section
    raise OptionError('missing', where='datasets.val', expected='LR images and their ground truth')


def read_plan(file: Path) -> Plan:
    """Read and check a list; MissingFileError or OptionError where that fails."""
    if not file.is_file():
        way_out = 'experiments/tables has some to start from.'
        raise MissingFileError('no such list of rows (YAML)', where=str(file), way_out=way_out)
    plan = validated(Plan, load_options(file))
    names = [row.name for row in plan.rows]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f'{name!r} appears twice', where=f'{file}: rows')
    if plan.baseline is not None and plan.baseline not in names:
        what, hint = f'{plan.baseline!r} is not a row', did_you_mean(plan.baseline, names)
        raise OptionError(what, where=f'{file}: baseline', expected=one_of(names), way_out=hint)
    for row in plan.rows:
        where = f'{file}: rows: {row.name}'
        for dataset in row.datasets or ():
            if dataset not in plan.datasets:
                hint = did_you_mean(dataset, plan.datasets)
                raise OptionError(f'unknown dataset {dataset!r}', where=where, way_out=hint)
        if row.checkpoint is not None and row.method != 'train':
            raise OptionError(where=where, expected=f'`checkpoint` or `method: {row.method}`', found='both')
    return plan


def changed(opt: Mapping[str, Any], changes: Changes, where: str) -> dict[str, Any]:
    """A copy of options with `changes`; OptionError if a path leads through something that is not a section."""
    found = json.loads(json.dumps(opt))  # also what YAML aliases share is copied
    for path, value in changes.items():
        *sections, key = path.split('.')
        section = found
        for part in sections:
            if section.get(part) is None:
                section[part] = {}
            section = section[part]
            if not isinstance(section, dict):
                raise OptionError(f'{part} is not a section of the option file', where=f'{where}: changes: {path}')
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
    return found


def cells(plan: Plan, folder: Path, imports: Sequence[str] = ()) -> Iterator[Cell]:
    """All cells, dataset by dataset; `folder` is that of the list, `imports` are added to those of the option files."""
    files: dict[str, dict[str, Any]] = {}
    for dataset, changes in plan.datasets.items():
        for row in plan.rows:
            if dataset not in (row.datasets or plan.datasets):
                continue
            name = row.opt or plan.opt
            if name not in files:
                beside = next((file for file in (Path(name), folder / name) if file.is_file()), None)
                files[name] = load_options(beside or option_file(name))
            opt = files[name]
            title = f'{plan.title}: {row.name} on {dataset}'
            for layer in (plan.changes, changes, row.changes):
                opt = changed(opt, layer, title)
            if plan.metrics:  # whatever the option file measures its sets with
                choices = [f'datasets.{key}.metrics' for key in opt.get('datasets') or () if key.startswith('val')]
                columns = {'val.metrics': plan.metrics, **dict.fromkeys(choices)}
                opt = changed(opt, columns, title)
            opt = with_imports(opt, imports)
            for seed in plan.seeds if Cell(row, dataset, None, opt).trained else [None]:
                own = {} if seed is None else {'manual_seed': seed}
                yield Cell(row, dataset, seed, changed(opt, own, plan.title))


def check_cells(cells: Sequence[Cell]) -> None:
    """Check names, options and metrics; whether files exist is found when a row is run.

    Raises:
        OptionError: naming the row, the key and the way out.
    """
    named: dict[str, Cell] = {}
    first: dict[str, Cell] = {}  # of a row on a dataset
    for cell in cells:
        other = named.setdefault(cell.name, cell)
        first.setdefault(cell.title, cell)
        if other is not cell:
            what = f'seed {cell.seed} appears twice' if other.title == cell.title else f'{other.title!r} would too'
            raise OptionError(
                f'{cell.title!r} would be kept in files named {cell.name}: {what}', way_out='Rename or remove one.'
            )
    for title, cell in first.items():
        try:
            _check_options(cell)
        except OptionError as e:
            raise e.within(title, ': ') from None
        if cell.metrics != cells[0].metrics:
            raise OptionError(
                f'has other val.metrics than {cells[0].title}, but a table has the same columns for all rows',
                where=title,
                way_out='Give `metrics` in the list.',
            )


def _check_options(cell: Cell) -> None:
    opt = cell.options
    metrics = (opt.get('val') or {}).get('metrics')
    if not metrics:
        expected, way_out = 'a section per column', 'Or give `metrics` in the list.'
        raise OptionError('missing', where='val.metrics', expected=expected, way_out=way_out)
    for name, metric in metrics.items():
        validated(Printing, metric, f'metrics.{name}')
    validated_file(cell.plain_options, is_train=cell.trained)
    key, section = validation_set(opt)
    metrics_of_set(plain(metrics), section, f'datasets.{key}')
    for name, metric in cell.metrics.items():
        check_metric(metric, f'metrics.{name}')
        kind, where = metric['type'], f'metrics.{name}.better'
        known = DIRECTIONS.get(kind)
        if known is None and 'better' not in metric:
            expected = f"'higher' or 'lower', for that of {kind} is not known"
            raise OptionError('missing', where=where, expected=expected)
        if known is not None and metric.get('better', known) != known:
            raise OptionError(f'of {kind}, {known} values are better', where=where, found=repr(metric['better']))
