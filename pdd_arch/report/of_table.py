"""A page out of the folder that `pdd tables` writes: `table.json` and the images it names."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.report.page import Page
from pdd_arch.report.pictures import ImageFolder, Output, make_picture
from pdd_arch.report.scores import Metric, Row, Seed
from pdd_arch.utils.files import read_content
from pdd_arch.utils.wording import shown

TABLE = 'table.json'
MAX_NAMED = 3  # of many like things, so many are named

Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class _Section(BaseModel):
    model_config = ConfigDict(extra='ignore')  # the table may hold more than is shown


class _Metric(_Section):
    name: Name
    better: Literal['higher', 'lower']
    decimals: int = Field(4, ge=0, le=10)
    unit: str | None = None


class _Seed(_Section):
    seed: int | str | None = None
    scores: dict[Name, list[float | None]]
    outputs: str | None = None
    command: str | None = None
    commit: str | None = None
    not_computed: dict[str, str] = {}
    undefined: dict[str, str] = {}


class _Row(_Section):
    name: Name
    dataset: Name
    seeds: list[_Seed]
    reference: bool = False


class _Dataset(_Section):
    lq: str | None = None
    gt: str | None = None


class _Table(_Section):
    title: str = 'Table'
    notes: list[str] = []
    metrics: list[_Metric] = Field(min_length=1)
    rows: list[_Row] = Field(min_length=1)
    datasets: dict[Name, _Dataset] = {}
    baseline: str | None = None


def read_table(file: Path) -> _Table:
    """Reads and checks `table.json`.

    Raises:
        DataError: it is not what `pdd tables` writes.
    """
    way_out = 'Write it anew with `pdd tables`.'
    try:
        content = json.loads(read_content(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f'{shown(file)}: is not JSON ({error}). {way_out}') from None
    try:
        table = _Table.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = '.'.join(map(str, first['loc'])) or 'the whole file'
        found = ascii(first['input'])[:80]
        raise DataError(f'{shown(file)}: {where}: {first["msg"]}, found {found}. {way_out}') from None
    for problem in _contradictions(table):
        raise DataError(f'{shown(file)}: {problem}. {way_out}')
    return table


def _contradictions(table: _Table) -> Iterator[str]:
    """What no single value shows to be wrong."""
    seen = set()
    for row in table.rows:
        if (row.name, row.dataset) in seen:
            yield f'rows: {row.name!r} stands twice for dataset {row.dataset!r}; expected one row with several seeds'
        seen.add((row.name, row.dataset))
        for seed in row.seeds:
            for image, values in seed.scores.items():
                if len(values) != len(table.metrics):
                    yield (
                        f'rows: {row.name!r}, seed {seed.seed}, image {image!r}: expected {len(table.metrics)} values, '
                        f'one per metric, found {len(values)}'
                    )
    names = {m.name for m in table.metrics}
    if len(names) < len(table.metrics):
        yield f'metrics: expected different names, found {[m.name for m in table.metrics]}'
    rows = sorted({row.name for row in table.rows})
    if table.baseline is not None and table.baseline not in rows:
        yield f'baseline: expected the name of a row, one of {rows}, found {table.baseline!r}'


def unit_of(metric: str) -> str:
    """The unit of a metric that has one."""
    return 'dB' if 'psnr' in metric.lower() else ''


def page_of_table(path: Path) -> Page:
    """The page of a table.

    Args:
        path: its folder, or the file `table.json` in it.

    Raises:
        MissingFileError, DataError: there is no table, or it is not what `pdd tables` writes, or an image that it
            names is broken. Images that are not there are named on the page.
    """
    file = path / TABLE if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError(f'{shown(file)}: there is no such file. Write it with `pdd tables`.')
    table = read_table(file)
    page = Page(
        title=table.title,
        source=str(file.resolve().parent.name),
        metrics=[
            Metric(m.name, m.better, m.decimals, unit_of(m.name) if m.unit is None else m.unit) for m in table.metrics
        ],
        rows=[_row(row) for row in table.rows],
        baseline=table.baseline,
        notes=list(table.notes),
    )
    if table.baseline is None:
        page.problems.append('The table names no baseline, so there are no gains to sort by.')
    seeds = [seed for row in table.rows for seed in row.seeds]
    page.problems += dict.fromkeys(text for s in seeds for text in (*s.not_computed.values(), *s.undefined.values()))
    _say_what_is_missing(table, page)
    _add_pictures(table, file.parent, page)
    return page


def _row(row: _Row) -> Row:
    seeds = tuple(
        Seed(
            name=str(i if seed.seed is None else seed.seed),
            scores=seed.scores,
            command=seed.command or '',
            commit=seed.commit or '',
        )
        for i, seed in enumerate(row.seeds)
    )
    return Row(row.name, row.dataset, seeds, row.reference)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMED
    return ', '.join(names[:MAX_NAMED]) + (f' and {rest} more' if rest > 0 else '')


def _say_what_is_missing(table: _Table, page: Page) -> None:
    """Means over different images are not comparable: that must not be found out by chance."""
    for dataset in dict.fromkeys(row.dataset for row in table.rows):
        rows = [row for row in table.rows if row.dataset == dataset]
        everything = {image for row in rows for seed in row.seeds for image in seed.scores}
        for row in rows:
            if not any(seed.scores for seed in row.seeds):
                page.problems.append(f'{dataset}, {row.name}: has no scores.')
                continue
            for seed in row.seeds:
                missing = sorted(everything - set(seed.scores))
                if missing:
                    page.problems.append(
                        f'{dataset}, {row.name}, seed {seed.seed}: has scores of {len(seed.scores)} of '
                        f'{len(everything)} images (not {_some(missing)}); its mean is over other images than that '
                        'of the other rows.'
                    )


def _find_folder(text: str, table: Path, what: str, page: Page) -> ImageFolder | None:
    """A folder that the table names: relative to the table, else to the current folder."""
    given = Path(text).expanduser()
    folder = given if given.is_absolute() or not (table / given).is_dir() else table / given
    try:
        return ImageFolder(folder, what)
    except MissingFileError as error:
        page.problems.append(f'Images are not shown: {error}')
        return None


def _inside(name: str) -> bool:
    """Whether the name of an image stays in its folder."""
    path = PurePosixPath(name.replace('\\', '/'))
    return not path.is_absolute() and '..' not in path.parts


def _outputs_of(row: _Row, table: Path, page: Page) -> tuple[_Seed, Path] | None:
    """The first seed of a row that has images, and their folder."""
    for seed in row.seeds:
        if seed.outputs:
            folder = Path(seed.outputs)
            return seed, folder if folder.is_absolute() else table / folder
    if row.seeds and not row.reference:
        page.notes.append(f'{row.dataset}, {row.name}: the table names no images.')
    return None


def _add_pictures(table: _Table, folder: Path, page: Page) -> None:
    several = []
    for dataset in dict.fromkeys(row.dataset for row in table.rows):
        rows = [row for row in table.rows if row.dataset == dataset]
        section = table.datasets.get(dataset, _Dataset())
        sources = {
            key: _find_folder(text, folder, f'datasets.{dataset}.{key}', page)
            for key, text in (('lq', section.lq), ('gt', section.gt))
            if text
        }
        written = {row.name: found for row in rows if (found := _outputs_of(row, folder, page))}
        several += [name for name in written if len(next(r for r in rows if r.name == name).seeds) > 1]
        missing: dict[str, list[str]] = {}
        for image in dict.fromkeys(image for row in rows for seed in row.seeds for image in seed.scores):
            if not _inside(image):
                page.problems.append(f'{dataset}: no image is shown for {image!r}, which is no name inside a folder.')
                continue
            found = {key: source.find(image) if source else None for key, source in sources.items()}
            for key, path in found.items():
                if path is None and sources[key]:
                    missing.setdefault(f'datasets.{dataset}.{key}', []).append(image)
            outputs = []
            for name, (seed, where) in written.items():
                path = where / f'{image}.png'
                if path.is_file():
                    label = f'{name} (seed {seed.seed})' if name in several else name
                    outputs.append(Output(label, name, path))
                elif image in seed.scores:
                    missing.setdefault(f'{dataset}, {name}', []).append(image)
            picture = make_picture(image, dataset, found.get('lq'), found.get('gt'), outputs, page.problems)
            if picture:
                page.pictures.append(picture)
        page.problems += [f'{what}: no image of {_some(names)}.' for what, names in missing.items()]
    if several:
        page.notes.append(
            'Where a row has several seeds, the images are those of the first; scores are means over all.'
        )
