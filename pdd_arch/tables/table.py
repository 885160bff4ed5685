"""From the cells' numbers to a table: means, spread over seeds, significance, and the formats it is written in."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdd_arch.metrics.availability import describe
from pdd_arch.tables.plan import Cell, Plan, validation_set
from pdd_arch.tables.runner import measures_of, read_result
from pdd_arch.tables.significance import SIGNIFICANT, TEST, significance
from pdd_arch.utils.atomic import whole_file, writing


@dataclass(frozen=True)
class Line:
    """A row of one dataset.

    Attributes:
        mean: by metric, over images and seeds.
        deviation: by metric, standard deviation over the seeds' means (n - 1); None with one seed.
        p: by metric, of the paired comparison with the baseline over the images; None where there is none.
    """

    dataset: str
    row: str
    seeds: list
    mean: list[float]
    deviation: list[float] | None
    p: list[float | None]


def collect(plan: Plan, todo: Sequence[Cell], out: Path) -> dict:
    """All finished numbers as plain data (``table.json``), also what `pdd report` reads."""
    metrics = plan.metrics or todo[0].options['val']['metrics']
    rows: dict[tuple[str, str], dict] = {}
    datasets = {}
    for cell in todo:
        _, val = validation_set(cell.options)
        datasets[cell.dataset] = {'lq': os.path.relpath(val['dataroot_lq'], out)}
        datasets[cell.dataset]['gt'] = os.path.relpath(val['dataroot_gt'], out)
        row = rows.setdefault(
            (cell.dataset, cell.row.name), {'name': cell.row.name, 'dataset': cell.dataset, 'seeds': []}
        )
        result = read_result(out, cell)
        if result is not None:
            row['seeds'].append({'seed': cell.seed, **{k: v for k, v in result.items() if k != 'fingerprint'}})
    measures = measures_of(metrics)
    return {
        'title': plan.title,
        'notes': plan.notes,
        'baseline': plan.baseline,
        'metrics': [
            {'name': m.name, 'better': m.better, 'decimals': m.decimals, 'options': o}
            for m, o in zip(measures, metrics.values(), strict=True)
        ],
        'datasets': datasets,
        'rows': list(rows.values()),
        'published': [p.model_dump() for p in plan.published],
    }


def lines(table: Mapping) -> list[Line]:
    """Statistics of all rows that have numbers."""
    found = []
    for row in table['rows']:
        if not row['seeds']:
            continue
        means = np.array([np.mean(_numbers(s['scores'].values()), axis=0) for s in row['seeds']])
        deviation = means.std(axis=0, ddof=1).tolist() if len(means) > 1 else None
        seeds = [s['seed'] for s in row['seeds']]
        found.append(Line(row['dataset'], row['name'], seeds, means.mean(axis=0).tolist(), deviation, _p(table, row)))
    return found


def _p(table: Mapping, row: Mapping) -> list[float | None]:
    baseline = _baseline(table, row['dataset'])
    if baseline is None or row is baseline:
        return [None] * len(table['metrics'])
    own, other = ([seed['scores'] for seed in r['seeds']] for r in (row, baseline))
    return significance(own, other, len(table['metrics']))


def _baseline(table: Mapping, dataset: str) -> Mapping | None:
    named = [r for r in table['rows'] if (r['dataset'], r['name']) == (dataset, table['baseline'])]
    return named[0] if named and named[0]['seeds'] else None


def _numbers(values: Iterable) -> np.ndarray:
    """Rows of numbers; NaN where a metric was not computed."""
    return np.array(list(values), dtype=float)


#: what Markdown, and what LaTeX reads as something else than text
_MARKDOWN = {c: f'\\{c}' for c in '\\|*`$'} | {'<': '&lt;', '\n': ' '}
_LATEX = {c: f'\\{c}' for c in '&%_#${}'} | {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '|': r'\textbar{}',
    '\n': ' ',
}


def escaped(text: str, special: Mapping[str, str]) -> str:
    """`text` with its special characters replaced."""
    return ''.join(special.get(c, c) for c in text)


def _cell(line: Line, i: int, metric: Mapping, sign: str = ' ± ') -> str:
    if np.isnan(line.mean[i]):
        return 'n/a'
    text = f'{line.mean[i]:.{metric["decimals"]}f}'
    if line.deviation is not None and np.isfinite(line.deviation[i]):
        text += f'{sign}{line.deviation[i]:.{metric["decimals"]}f}'
    return text


def _best(chosen: Sequence[Line], i: int, metric: Mapping) -> float:
    choose = max if metric['better'] == 'higher' else min
    return choose((line.mean[i] for line in chosen if not np.isnan(line.mean[i])), default=np.nan)


def _differs(line: Line, i: int) -> bool:
    return line.p[i] is not None and line.p[i] < SIGNIFICANT


def _arrow(metric: Mapping) -> str:
    return {'higher': '↑', 'lower': '↓'}[metric['better']]


def to_markdown(table: Mapping) -> str:
    """A table a dataset: mean ± standard deviation over seeds; best in bold; * differs from the baseline."""

    def text_of(name: str) -> str:
        return escaped(name, _MARKDOWN)

    metrics, text = table['metrics'], f'# {text_of(table["title"])}\n'
    statistics = lines(table)
    for dataset in table['datasets']:
        chosen = [line for line in statistics if line.dataset == dataset]
        if not chosen:
            continue
        heads = ' | '.join(f'{text_of(m["name"])} {_arrow(m)}' for m in metrics)
        text += f'\n## {text_of(dataset)}\n\n| | seeds | {heads} |\n'
        text += '|---|---|' + '---:|' * len(metrics) + '\n'
        for line in chosen:
            cells = []
            for i, metric in enumerate(metrics):
                cell = _cell(line, i, metric)
                cell = f'**{cell}**' if line.mean[i] == _best(chosen, i, metric) else cell
                cells.append(cell + (r'\*' if _differs(line, i) else ''))
            seeds = len(line.seeds) if line.seeds != [None] else ''
            text += f'| {text_of(line.row)} | {seeds} | ' + ' | '.join(cells) + ' |\n'
    text += f'\n{legend(table)}\n'
    text += ''.join(f'\n{note}\n' for note in table['notes'])
    return text + _published(table)


def not_computed(table: Mapping) -> list[str]:
    """Reasons why values are missing, each once."""
    seeds = [s for row in table['rows'] for s in row['seeds']]
    reasons = (r for s in seeds for key in ('not_computed', 'undefined') for r in s.get(key, {}).values())
    return list(dict.fromkeys(reasons))


def legend(table: Mapping) -> str:
    """What the columns and signs mean."""
    told = []
    for metric in table['metrics']:
        meaning = describe({k: v for k, v in metric['options'].items() if k not in ('decimals', 'label')})
        weights = f', {meaning["weights"]}' if meaning['weights'] else ''
        name = escaped(metric['name'], _MARKDOWN)
        told.append(
            f'{name}: `{meaning["type"]}` of {meaning["package"]}, {meaning["colour"]}, values '
            f'{meaning["range"]}, {meaning["crop_border"]} border pixels cut{weights}'
        )
    text = '; '.join(told) + '. Mean over images'
    if any(len(row['seeds']) > 1 for row in table['rows']):
        text += ', ± standard deviation over seeds'
    if table['baseline']:
        text += rf'; \* differs from "{escaped(table["baseline"], _MARKDOWN)}" ({TEST}; p < {SIGNIFICANT})'
    text += '.'
    return text + ''.join(f'\n\n**Not computed**: {reason}' for reason in not_computed(table))


def _published(table: Mapping) -> str:
    text = ''
    for paper in table['published']:
        text += f'\n## Published: {escaped(paper["source"], _MARKDOWN)}\n'
        text += '\n| dataset | row | metric | value |\n|---|---|---|---:|\n'
        for dataset, rows in paper['values'].items():
            for row, values in rows.items():
                for metric, value in values.items():
                    names = ' | '.join(escaped(name, _MARKDOWN) for name in (dataset, row, metric))
                    text += f'| {names} | {value} |\n'
    return text


def to_latex(table: Mapping) -> str:
    """The same for a paper, with booktabs."""

    def escape(text: str) -> str:
        return escaped(text, _LATEX)

    metrics, statistics = table['metrics'], lines(table)
    arrows = {'higher': r'$\uparrow$', 'lower': r'$\downarrow$'}
    head = ' & '.join(f'{escape(m["name"])} {arrows[m["better"]]}' for m in metrics)
    rows = [rf'\begin{{tabular}}{{ll{"r" * len(metrics)}}}', r'\toprule', rf'dataset & method & {head} \\']
    for dataset in table['datasets']:
        chosen = [line for line in statistics if line.dataset == dataset]
        rows += [r'\midrule'] if chosen else []
        for n, line in enumerate(chosen):
            cells = []
            for i, metric in enumerate(metrics):
                cell = _cell(line, i, metric, r' $\pm$ ')
                cell = rf'\textbf{{{cell}}}' if line.mean[i] == _best(chosen, i, metric) else cell
                cells.append(cell + ('$^{*}$' if _differs(line, i) else ''))
            rows.append(rf'{escape(dataset) if n == 0 else ""} & {escape(line.row)} & {" & ".join(cells)} \\')
    return '\n'.join([*rows, r'\bottomrule', r'\end{tabular}']) + '\n'


def to_csv(table: Mapping) -> str:
    """A line per dataset, row, seed and image, and the command and version behind it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    names = [m['name'] for m in table['metrics']]
    writer.writerow(['dataset', 'row', 'seed', 'image', *names, 'command', 'version'])
    for row in table['rows']:
        for seed in row['seeds']:
            for image, values in seed['scores'].items():
                number = '' if seed['seed'] is None else seed['seed']
                numbers = ['' if v is None else f'{v:.6f}' for v in values]
                writer.writerow([row['dataset'], row['name'], number, image, *numbers, seed['command'], seed['commit']])
    return stream.getvalue()


def write_table(table: Mapping, out: Path) -> None:
    """``table.json``, ``.md``, ``.tex`` and ``.csv`` in `out`."""
    texts = {
        'table.json': json.dumps(table, indent=1) + '\n',
        'table.md': to_markdown(table),
        'table.tex': to_latex(table),
        'table.csv': to_csv(table),
    }
    for name, text in texts.items():
        with writing(out / name), whole_file(out / name) as partial:
            partial.write_text(text, encoding='utf-8')
