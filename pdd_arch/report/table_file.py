"""The file ``table.json`` of `pdd tables`: what is in it, and how it is read and checked."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from pdd_arch.errors import DataError
from pdd_arch.options.fields import Section
from pdd_arch.report.scores import Metric, Name, Row
from pdd_arch.utils.files import read_content
from pdd_arch.utils.wording import shown

TABLE = 'table.json'


class Published(Section):
    """Figures of a paper, for comparison: ``{dataset: {row: {metric: value}}}``."""

    source: str
    values: dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Dataset:
    """Folders or LMDBs of a dataset's LR and HR images, relative to the table."""

    lq: str | None = None
    gt: str | None = None


@dataclass(frozen=True)
class Table:
    """A table; the file may hold more, which is ignored."""

    metrics: Annotated[list[Metric], Field(min_length=1)]
    rows: Annotated[list[Row], Field(min_length=1)]
    title: str = 'Table'
    notes: list[str] = field(default_factory=list)
    datasets: dict[Name, Dataset] = field(default_factory=dict)
    baseline: str | None = None
    published: list[Published] = field(default_factory=list)

    def reasons(self) -> list[str]:
        """Why values are missing, each reason once."""
        seeds = [seed for row in self.rows for seed in row.seeds]
        return list(dict.fromkeys(r for s in seeds for r in (*s.not_computed.values(), *s.undefined.values())))


def table_of(content: object) -> Table:
    """A table from the content of its file; DataError if it is not what `pdd tables` writes."""
    try:
        table = TypeAdapter(Table).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = '.'.join(map(str, first['loc'])) or 'the whole file'
        raise DataError(first['msg'], where=where, found=ascii(first['input'])[:80]) from None
    metrics = [m.name for m in table.metrics]
    if len(set(metrics)) < len(metrics):
        raise DataError(where='metrics', expected='different names', found=str(metrics))
    seen = set()
    for row in table.rows:
        if (row.name, row.dataset) in seen:
            what = f'{row.name!r} appears twice for dataset {row.dataset!r}'
            raise DataError(what, where='rows', expected='one row with several seeds')
        seen.add((row.name, row.dataset))
        for seed in row.seeds:
            for image, values in seed.scores.items():
                if len(values) != len(metrics):
                    where, expected = f'rows: {row.name!r}, seed {seed.seed}, image {image!r}', f'{len(metrics)} values'
                    raise DataError(where=where, expected=f'{expected}, one per metric', found=str(len(values)))
    rows = sorted({row.name for row in table.rows})
    if table.baseline is not None and table.baseline not in rows:
        raise DataError(where='baseline', expected=f'the name of a row, one of {rows}', found=repr(table.baseline))
    return table


def read_table(file: Path) -> Table:
    """Read and check ``table.json``; DataError or MissingFileError where that fails."""
    content = read_content(file)
    try:
        return table_of(json.loads(content))
    except DataError as error:
        wrong = error.within(shown(file), ': ')
    except (ValueError, RecursionError) as error:
        wrong = DataError(f'is not JSON ({error})', where=shown(file))
    raise wrong.with_fields(way_out='Write it anew with `pdd tables`.')
