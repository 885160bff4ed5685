"""Checks of the cells of a table, made before the first of them is trained."""

from collections.abc import Sequence

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
        if plain(cell.options['val']['metrics']) != plain(cells[0].options['val']['metrics']):
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
        decimals = metric.get('decimals', 4)
        if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 10:
            expected = 'a whole number from 0 to 10'
            raise OptionError(where=f'metrics.{name}.decimals', expected=expected, found=repr(decimals))
    validated_file({**opt, 'val': {**opt['val'], 'metrics': plain(metrics)}}, is_train=cell.trained)
    if not any(key.startswith('val') for key in opt['datasets']):
        raise OptionError('missing', where='datasets.val', expected='LR images and their ground truth')
    for name, metric in plain(metrics).items():
        check_metric(metric, f'metrics.{name}')
        kind, where = metric['type'], f'metrics.{name}.better'
        known = DIRECTIONS.get(kind)
        if known is None and 'better' not in metric:
            expected = f"'higher' or 'lower', for that of {kind} is not known"
            raise OptionError('missing', where=where, expected=expected)
        if known is not None and metric.get('better', known) != known:
            raise OptionError(f'of {kind}, {known} values are better', where=where, found=repr(metric['better']))
