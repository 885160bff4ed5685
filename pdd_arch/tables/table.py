"""From the cells' numbers to a table: ``table.json``, and what is made of it in Markdown, LaTeX and CSV."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdd_arch.metrics.availability import describe
from pdd_arch.report.scores import SIGNIFICANT, TEST, Metric, RowStatistics, Value, statistics_of
from pdd_arch.report.table_file import TABLE, Published, Table, table_of
from pdd_arch.tables.plan import Cell, Plan, plain, validation_set
from pdd_arch.tables.runner import measures_of, read_result
from pdd_arch.utils.atomic import write_json, write_text


def collect(plan: Plan, todo: Sequence[Cell], out: Path) -> dict[str, Any]:
    """All finished numbers as plain data: the content of ``table.json``."""
    metrics = plan.metrics or todo[0].columns
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    datasets = {}
    for cell in todo:
        _, val = validation_set(cell.options)
        datasets[cell.dataset] = {key: os.path.relpath(val[f'dataroot_{key}'], out) for key in ('lq', 'gt')}
        new = {'name': cell.row.name, 'dataset': cell.dataset, 'seeds': []}
        row = rows.setdefault((cell.dataset, cell.row.name), new)
        result = read_result(out, cell)
        if result is not None:
            row['seeds'].append({'seed': cell.seed, **{k: v for k, v in result.items() if k != 'fingerprint'}})
    return {
        'title': plan.title,
        'notes': plan.notes,
        'baseline': plan.baseline,
        'metrics': [
            {'name': m.name, 'better': m.better, 'decimals': m.decimals, 'options': o}
            for m, o in zip(measures_of(metrics), metrics.values(), strict=True)
        ],
        'datasets': datasets,
        'rows': list(rows.values()),
        'published': [p.model_dump() for p in plan.published],
    }


def _mean(row: RowStatistics, i: int) -> Value:
    """Mean of a metric; None where it has no number for some image."""
    mean, complete = row.mean[i], all(s.counts[i] == s.images for s in row.seeds)
    return None if mean is None or math.isnan(mean) or not complete else mean


@dataclass(frozen=True)
class _Markup:
    """How a markup language writes numbers and names; `special`: characters that it does not read as text."""

    special: Mapping[str, str]
    plus_minus: str
    bold: str
    star: str
    arrows: Mapping[str, str]
    separator: str  # of the cells of a row

    def text(self, text: str) -> str:
        return ''.join(self.special.get(c, c) for c in text)

    def heads(self, metrics: Sequence[Metric]) -> str:
        return self.separator.join(f'{self.text(m.name)} {self.arrows[m.better]}' for m in metrics)

    def cells(self, row: RowStatistics, rows: Sequence[RowStatistics], metrics: Sequence[Metric]) -> str:
        """The numbers of a row: mean and standard deviation; the best of the rows in bold; starred where it differs."""
        cells = []
        for i, metric in enumerate(metrics):
            mean, deviation, p = _mean(row, i), row.std[i], row.p[i]
            if mean is None:
                cells.append('n/a')
                continue
            text = f'{mean:.{metric.decimals}f}'
            if deviation is not None and math.isfinite(mean):
                text += f'{self.plus_minus}{deviation:.{metric.decimals}f}'
            means = [m for r in rows if (m := _mean(r, i)) is not None]
            if mean == (max(means) if metric.better == 'higher' else min(means)):
                text = self.bold.format(text)
            cells.append(text + (self.star if p is not None and p < SIGNIFICANT else ''))
        return self.separator.join(cells)


_MARKDOWN = _Markup(
    special={c: f'\\{c}' for c in '\\|*`$'} | {'<': '&lt;', '\n': ' '},
    plus_minus=' ± ',
    bold='**{}**',
    star=r'\*',
    arrows={'higher': '↑', 'lower': '↓'},
    separator=' | ',
)
_LATEX_NAMES = {'\\': 'backslash', '~': 'asciitilde', '^': 'asciicircum', '<': 'less', '>': 'greater', '|': 'bar'}
_LATEX = _Markup(
    special={c: f'\\{c}' for c in '&%_#${}'} | {c: rf'\text{n}{{}}' for c, n in _LATEX_NAMES.items()} | {'\n': ' '},
    plus_minus=r' $\pm$ ',
    bold=r'\textbf{{{}}}',
    star='$^{*}$',
    arrows={'higher': r'$\uparrow$', 'lower': r'$\downarrow$'},
    separator=' & ',
)


def _by_dataset(table: Table) -> dict[str, list[RowStatistics]]:
    """Statistics of all rows that have numbers."""
    found = [s for s in statistics_of(table.rows, table.metrics, table.baseline) if s.seeds]
    return {dataset: rows for dataset in table.datasets if (rows := [s for s in found if s.dataset == dataset])}


def to_markdown(table: Table) -> str:
    """A table a dataset: mean ± standard deviation over seeds; best in bold; * differs from the baseline."""
    metrics, text = table.metrics, f'# {_MARKDOWN.text(table.title)}\n'
    untrained = {(row.dataset, row.name) for row in table.rows if [s.seed for s in row.seeds] == [None]}
    for dataset, rows in _by_dataset(table).items():
        text += f'\n## {_MARKDOWN.text(dataset)}\n\n| | seeds | {_MARKDOWN.heads(metrics)} |\n'
        text += '|---|---|' + '---:|' * len(metrics) + '\n'
        for row in rows:
            seeds = '' if (dataset, row.name) in untrained else len(row.seeds)
            text += f'| {_MARKDOWN.text(row.name)} | {seeds} | {_MARKDOWN.cells(row, rows, metrics)} |\n'
    text += f'\n{legend(table)}\n'
    text += ''.join(f'\n{note}\n' for note in table.notes)
    return text + _published(table.published)


def legend(table: Table) -> str:
    """What the columns and signs mean."""
    told = []
    for metric, options in zip(table.metrics, plain({m.name: m.options for m in table.metrics}).values(), strict=True):
        meaning = describe(options)
        weights = f', {meaning["weights"]}' if meaning['weights'] else ''
        told.append(
            f'{_MARKDOWN.text(metric.name)}: `{meaning["type"]}` of {meaning["package"]}, {meaning["colour"]}, values '
            f'{meaning["range"]}, {meaning["crop_border"]} border pixels cut{weights}'
        )
    text = '; '.join(told) + '. Mean over images'
    if any(len(row.seeds) > 1 for row in table.rows):
        text += ', ± standard deviation over seeds'
    if table.baseline:
        text += rf'; \* differs from "{_MARKDOWN.text(table.baseline)}" ({TEST}; p < {SIGNIFICANT})'
    return text + '.' + ''.join(f'\n\n**Not computed**: {reason}' for reason in table.reasons())


def _published(papers: Sequence[Published]) -> str:
    text = ''
    for paper in papers:
        text += f'\n## Published: {_MARKDOWN.text(paper.source)}\n'
        text += '\n| dataset | row | metric | value |\n|---|---|---|---:|\n'
        for dataset, rows in paper.values.items():
            for row, values in rows.items():
                names = f'| {_MARKDOWN.text(dataset)} | {_MARKDOWN.text(row)} |'
                text += ''.join(f'{names} {_MARKDOWN.text(metric)} | {value} |\n' for metric, value in values.items())
    return text


def to_latex(table: Table) -> str:
    """The same for a paper, with booktabs."""
    metrics = table.metrics
    lines = [rf'\begin{{tabular}}{{ll{"r" * len(metrics)}}}', r'\toprule']
    lines.append(rf'dataset & method & {_LATEX.heads(metrics)} \\')
    for dataset, rows in _by_dataset(table).items():
        lines.append(r'\midrule')
        for n, row in enumerate(rows):
            names = f'{_LATEX.text(dataset) if n == 0 else ""} & {_LATEX.text(row.name)}'
            lines.append(rf'{names} & {_LATEX.cells(row, rows, metrics)} \\')
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}']) + '\n'


def to_csv(table: Table) -> str:
    """A line per dataset, row, seed and image, and the command and version behind it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(['dataset', 'row', 'seed', 'image', *(m.name for m in table.metrics), 'command', 'version'])
    for row in table.rows:
        for seed in row.seeds:
            for image, values in seed.scores.items():
                numbers = ['' if v is None else f'{v:.6f}' for v in values]
                writer.writerow([row.dataset, row.name, seed.seed, image, *numbers, seed.command, seed.commit])
    return stream.getvalue()


def write_table(content: Mapping[str, Any], out: Path) -> Table:
    """Write ``table.json``, ``.md``, ``.tex`` and ``.csv`` below `out`, of what `collect` returns.

    Raises:
        DataError: a file cannot be written.
    """
    table = table_of(content)
    write_json(out / TABLE, content)
    for suffix, text_of in {'md': to_markdown, 'tex': to_latex, 'csv': to_csv}.items():
        write_text(out / f'table.{suffix}', text_of(table))
    return table
