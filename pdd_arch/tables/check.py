"""Checks of the cells of a table, made before the first of them is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from pdd_arch.errors import OptionError
from pdd_arch.metrics.availability import DIRECTIONS
from pdd_arch.options.run_options import validated_file
from pdd_arch.preflight.metrics import check_metric
from pdd_arch.tables.plan import Cell, plain


def check_cells(cells: Sequence[Cell]) -> None:
    """Check names, options and metrics; whether files exist is found when a row is run.

    Raises:
        OptionError: naming the row, the key and the way out.
    """
    names: dict[str, Cell] = {}
    for cell in cells:
        other = names.setdefault(cell.name, cell)
        if other is not cell:
            what = f'seed {cell.seed} appears twice' if other.title == cell.title else f'{other.title!r} would too'
            raise OptionError(
                f'{cell.title!r} would be kept in files named {cell.name}: {what}', way_out='Rename or remove one.'
            )
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.title, cell)
    for title, cell in first.items():
        try:
            _check_options(cell)
        except OptionError as e:
            raise e.within(title, ': ') from None
        if plain(_metrics(cell)) != plain(_metrics(cells[0])):
            raise OptionError(
                f'has other val.metrics than {cells[0].title}, but a table has the same columns for all rows',
                where=title,
                way_out='Give `metrics` in the list.',
            )


def _metrics(cell: Cell) -> Mapping[str, Mapping[str, Any]]:
    return cell.options['val']['metrics']


def _check_options(cell: Cell) -> None:
    opt = cell.options
    if not (opt.get('val') or {}).get('metrics'):
        raise OptionError(
            'missing', where='val.metrics', expected='a section per column', way_out='Or give `metrics` in the list.'
        )
    for name, metric in _metrics(cell).items():
        decimals = metric.get('decimals', 4)
        if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 10:
            expected = 'a whole number from 0 to 10'
            raise OptionError(where=f'metrics.{name}.decimals', expected=expected, found=repr(decimals))
    validated_file({**opt, 'val': {**opt['val'], 'metrics': plain(_metrics(cell))}}, is_train=cell.trained)
    if not any(key.startswith('val') for key in opt['datasets']):
        raise OptionError('missing', where='datasets.val', expected='LR images and their ground truth')
    for name, metric in plain(_metrics(cell)).items():
        _check_metric(f'metrics.{name}', metric)


def _check_metric(path: str, options: Mapping[str, Any]) -> None:
    kind = options['type']
    check_metric(options, path)
    known = DIRECTIONS.get(kind)
    if known is None and 'better' not in options:
        expected = f"'higher' or 'lower', for that of {kind} is not known"
        raise OptionError('missing', where=f'{path}.better', expected=expected)
    if known is not None and options.get('better', known) != known:
        what, found = f'of {kind}, {known} values are better', repr(options['better'])
        raise OptionError(what, where=f'{path}.better', found=found)
