"""What is wrong with the cells of a table, found before the first of them is trained."""

from collections.abc import Mapping, Sequence

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.metrics.availability import DIRECTIONS
from pdd_arch.options.run_options import validated_file
from pdd_arch.options.signatures import check_keywords, check_kinds
from pdd_arch.tables.plan import Cell, plain
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean


def check_cells(cells: Sequence[Cell]) -> None:
    """Check names, options and metrics; not whether files exist, which is said of each row when it comes to it.

    Raises:
        OptionError: naming the row, the key and the way out.
    """
    names: dict[str, Cell] = {}
    for cell in cells:
        other = names.setdefault(cell.name, cell)
        if other is not cell:
            what = f'seed {cell.seed} is there twice' if other.title == cell.title else f'{other.title!r} would too'
            raise OptionError(f'{cell.title!r} would be kept in files named {cell.name}: {what}. Rename or remove one.')
    checked = set()
    for cell in cells:
        if cell.title not in checked:
            checked.add(cell.title)
            try:
                _check_options(cell)
            except OptionError as e:
                raise OptionError(f'{cell.title}: {e}') from None
            if plain(_metrics(cell)) != plain(_metrics(cells[0])):
                raise OptionError(
                    f'{cell.title}: has other val.metrics than {cells[0].title}, but a table has the same columns for '
                    'all rows. Give `metrics` in the list.'
                )


def _metrics(cell: Cell) -> Mapping[str, Mapping]:
    return cell.options['val']['metrics']


def _check_options(cell: Cell) -> None:
    opt = cell.options
    if not (opt.get('val') or {}).get('metrics'):
        raise OptionError('val.metrics: missing, expected a section per column. Or give `metrics` in the list.')
    for name, metric in _metrics(cell).items():
        decimals = metric.get('decimals', 4)
        if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 10:
            raise OptionError(f'metrics.{name}.decimals: expected a whole number from 0 to 10, found {decimals!r}')
    validated_file({**opt, 'val': {**opt['val'], 'metrics': plain(_metrics(cell))}}, is_train=cell.trained)
    if not any(key.startswith('val') for key in opt['datasets']):
        raise OptionError('datasets.val: missing, expected LR images and their ground truth')
    for name, metric in plain(_metrics(cell)).items():
        _check_metric(f'metrics.{name}', metric)


def _check_metric(path: str, options: Mapping) -> None:
    kind = options['type']
    function = registered(METRIC_REGISTRY, kind)
    if function is None:
        raise OptionError(f'{path}.type: no metric {kind!r} is registered.{did_you_mean(kind, METRIC_REGISTRY.keys())}')
    given = {key: value for key, value in options.items() if key not in ('type', 'better')}
    check_keywords(path, kind, function, given, filled=('img', 'img2'))
    check_kinds(path, function, given)
    known = DIRECTIONS.get(kind)
    if known is None and 'better' not in options:
        raise OptionError(f"{path}.better: missing; expected 'higher' or 'lower', for nobody knows it of {kind}")
    if known is not None and options.get('better', known) != known:
        raise OptionError(f'{path}.better: of {kind}, {known} values are better, found {options["better"]!r}')
