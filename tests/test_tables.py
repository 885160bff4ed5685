"""Tables: the list, the runs behind it, resuming, statistics and formats."""

import csv
import json
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from table_material import LIST, make_folder, tables, train_here

from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import DataError, OptionError
from pdd_arch.report.scores import statistics_of
from pdd_arch.report.table_file import Table, table_of
from pdd_arch.tables import runner
from pdd_arch.tables.plan import cells, changed, read_plan
from pdd_arch.tables.table import to_csv, to_latex, to_markdown
from pdd_arch.version import __version__

table_folder = pytest.fixture(make_folder)
trained = pytest.fixture(train_here)


def test_a_table_from_a_list(table_folder, trained, capsys):
    assert tables() == 0
    assert sorted(trained) == [
        'a_adapted_seed0', 'a_adapted_seed1', 'a_no_distillation_seed0', 'a_no_distillation_seed1',
        'b_adapted_seed0', 'b_adapted_seed1',
    ]  # fmt: skip
    table = json.loads(Path('out/table.json').read_text())
    assert [(r['dataset'], r['name'], len(r['seeds'])) for r in table['rows']] == [
        ('a', 'bicubic', 1), ('a', 'start', 1), ('a', 'adapted', 2), ('a', 'no distillation', 2),
        ('b', 'bicubic', 1), ('b', 'start', 1), ('b', 'adapted', 2),
    ]  # fmt: skip
    by_name = {(r['dataset'], r['name']): r['seeds'] for r in table['rows']}
    one, two = (s['scores']['000'][0] for s in by_name['a', 'adapted'])
    assert one != two  # seeds matter
    assert by_name['a', 'adapted'][0]['scores'] != by_name['b', 'adapted'][0]['scores']
    assert (
        by_name['a', 'adapted'][0]['command'] == 'basicsr train -opt out/option_files/a_adapted_seed0.yml --auto_resume'
    )
    assert (Path('out') / by_name['a', 'adapted'][0]['outputs'] / '000.png').exists()
    markdown = Path('out/table.md').read_text()
    assert '| adapted | 2 | ' in markdown
    assert 'RGB, values 8 bit, 0 to 255, 4 border pixels cut' in markdown
    rows = list(csv.DictReader(Path('out/table.csv').read_text().splitlines()))
    assert len(rows) == 2 + 2 + 4 + 2  # one image; a row per seed
    assert r'\begin{tabular}' in Path('out/table.tex').read_text()
    # the same figure as BasicSR's validation of the same checkpoint would give is in the CSV and the JSON
    assert float(rows[2]['PSNR']) == pytest.approx(one, abs=1e-5)

    # again: nothing to do; a row more: only that; other options: refused, nothing lost
    before = Path('out/cells/a_adapted_seed0.json').read_bytes()
    trained.clear()
    assert tables() == 0
    assert trained == []
    assert '0 to do' in capsys.readouterr().out
    assert tables('--seeds', '0,1,2', '--only', 'adapted', '--datasets', 'b') == 0
    assert trained == ['b_adapted_seed2']
    Path('list.yml').write_text(yaml.safe_dump({**LIST, 'changes': {'train.ema_decay': 0.5}}))
    with pytest.raises(DataError, match=r'a_bicubic\.json: measured with other options'):
        tables()
    assert Path('out/cells/a_adapted_seed0.json').read_bytes() == before

    # a list with other options trains anew, and never goes on with a run that had others
    trained.clear()
    assert main(['tables', 'list.yml', '-o', 'out2', '--only', 'adapted', '--datasets', 'b', '--seeds', '0']) == 0
    assert trained == ['b_adapted_seed0']
    again = json.loads(Path('out2/table.json').read_text())['rows'][-1]['seeds'][0]['scores']
    assert again != by_name['b', 'adapted'][0]['scores']
    # and a third list with the first's options measures the first's run
    trained.clear()
    Path('list.yml').write_text(yaml.safe_dump(LIST))
    assert main(['tables', 'list.yml', '-o', 'out3', '--only', 'adapted', '--datasets', 'b', '--seeds', '0']) == 0
    assert trained == []
    again = json.loads(Path('out3/table.json').read_text())['rows'][-1]['seeds'][0]['scores']
    assert again == by_name['b', 'adapted'][0]['scores']


def test_a_row_that_fails_does_not_stop_the_others(table_folder, trained, capsys):
    broken = {'name': 'broken', 'changes': {'path.pretrain_network_g': 'absent.pth'}}
    rows = [{'name': 'start', 'method': 'start'}, broken, {'name': 'adapted'}]
    Path('list.yml').write_text(yaml.safe_dump({**LIST, 'rows': rows, 'datasets': {'a': {}}, 'seeds': [0]}))
    assert tables() == 1
    said = capsys.readouterr()
    assert 'a_broken_seed0: training failed' in said.err
    assert '| adapted |' in Path('out/table.md').read_text()
    assert 'broken' not in Path('out/table.md').read_text()


def test_a_metric_without_its_weights_is_reported_and_made_up_for(table_folder, capsys):
    from pdd_arch.features import FeatureNet

    lacking = dict(type='calculate_feature_distance', crop_border=4, better='lower')
    lacking['feature_net'] = dict(type='squeezenet1_1', weights='absent.pth')
    rows = [{'name': 'bicubic', 'method': 'bicubic'}, {'name': 'start', 'method': 'start'}]
    metrics = {'PSNR': dict(type='calculate_psnr', crop_border=4, better='higher'), 'distance': lacking}
    Path('list.yml').write_text(yaml.safe_dump({**LIST, 'rows': rows, 'metrics': metrics}))
    assert tables() == 1
    assert 'absent.pth' in capsys.readouterr().err
    markdown = Path('out/table.md').read_text()
    assert '| n/a |' in markdown
    assert '**Not computed**: metrics.distance' in markdown

    net = FeatureNet(['features.12'], type='squeezenet1_1', weights='random')
    torch.save({f'features.{k}': v for k, v in net.features.state_dict().items()}, 'absent.pth')
    assert tables() == 0
    assert 'n/a' not in Path('out/table.md').read_text()


def test_runs_are_spread_over_devices(table_folder, monkeypatch):
    seen = []

    def run_elsewhere(_self, arguments, log, device):
        seen.append(device)
        time.sleep(0.05)
        name = yaml.safe_load(Path(arguments[2]).read_text())['name']
        final = Path('experiments', name, 'models/net_g_latest.pth')
        final.parent.mkdir(parents=True)
        torch.save({'params_ema': torch.load('start.pth')['params']}, final)
        return 0

    monkeypatch.setattr(runner.Trainings, 'run', run_elsewhere)
    assert tables('--gpus', '3,5', '--seeds', '0,1,2') == 0
    assert len(seen) == 3 * 3
    assert set(seen) == {'3', '5'}
    assert {seen[0], seen[1]} == {'3', '5'}  # two at a time, one on each


def test_dry_run_writes_nothing(table_folder, capsys):
    assert tables('--dry-run') == 0
    assert 'a_no_distillation_seed1' in capsys.readouterr().out
    assert not Path('out').exists()


def test_changes():
    opt = {'a': {'b': 1}, 'c': 2}
    assert changed(opt, {'a.b': None, 'a.x': {'y': 3}, 'd.e': 4}, 'here') == {
        'a': {'x': {'y': 3}},
        'c': 2,
        'd': {'e': 4},
    }
    assert opt == {'a': {'b': 1}, 'c': 2}
    with pytest.raises(OptionError, match='c is not a section'):
        changed(opt, {'c.x': 1}, 'here')


def test_shipped_lists_are_valid():
    folder = Path(__file__).parents[1] / 'experiments' / 'tables'
    found = sorted(folder.glob('*.yml'))
    assert found
    for file in found:
        plan = read_plan(file)
        names = [cell.name for cell in cells(plan, folder)]
        assert len(names) == len(set(names))
        assert len(plan.seeds) >= 3


def repository(folder: Path, *tracked: str) -> None:
    """A repository with some files in one commit."""

    def git(*arguments: str) -> None:
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b.c')
        subprocess.run(['git', *identity, *arguments], cwd=folder, check=True, capture_output=True)

    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    git('init')
    git('add', *tracked)
    git('commit', '-m', 'all')


def test_the_version_has_the_commit_of_the_packages_own_checkout(tmp_path):
    repository(tmp_path, 'pdd_arch/version.py')
    version, found = runner.commit(tmp_path / 'pdd_arch').split()
    assert version == __version__
    assert re.fullmatch('[0-9a-f]{12}', found)
    (tmp_path / 'pdd_arch/version.py').write_text('changed')
    assert runner.commit(tmp_path / 'pdd_arch') == f'{version} {found}-dirty'


@pytest.mark.parametrize('place', ['lib/pdd_arch', 'pdd_arch'])
def test_the_version_has_no_commit_of_a_repository_that_encloses_the_package(tmp_path, place):
    repository(tmp_path, 'README.md', 'lib/pdd_arch/version.py')
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / 'version.py').touch()
    assert runner.commit(tmp_path / place) == __version__


def test_the_version_without_git(tmp_path, monkeypatch):
    repository(tmp_path, 'pdd_arch/version.py')
    monkeypatch.setenv('PATH', str(tmp_path))
    assert runner.commit(tmp_path / 'pdd_arch') == __version__


def made_table(values: dict[str, list[list[float]]]) -> Table:
    """Row -> seeds -> PSNR of images; row `base` is the baseline."""
    rows = [
        {
            'name': name,
            'dataset': 'a',
            'seeds': [
                {'seed': i, 'scores': {f'{n:02}': [v] for n, v in enumerate(images)}, 'command': 'c', 'commit': 'v'}
                for i, images in enumerate(seeds)
            ],
        }
        for name, seeds in values.items()
    ]
    metric = {
        'name': 'PSNR',
        'better': 'higher',
        'decimals': 2,
        'options': {'type': 'calculate_psnr', 'crop_border': 4},
    }
    published = [{'source': 'a paper, table 1', 'values': {'a': {'theirs': {'PSNR': 30.5}}}}]
    content = dict(
        title='T',
        notes=['Mind this.'],
        baseline='base',
        metrics=[metric],
        datasets={'a': {}},
        rows=rows,
        published=published,
    )
    return table_of(content)


def lines(table: Table) -> list:
    return statistics_of(table.rows, table.metrics, table.baseline)


def test_statistics():
    rng = np.random.default_rng(0)
    base = [20 + rng.random(8)]
    better = [base[0] + 1 + 0.1 * rng.random(8) for _ in range(3)]
    alike = [base[0] + 0.1 * rng.standard_normal(8)]
    table = made_table({'base': base, 'better': better, 'a_like': alike})
    found = {line.name: line for line in lines(table)}
    assert found['better'].mean == [pytest.approx(np.mean(better))]
    assert found['better'].std == [pytest.approx(np.std([b.mean() for b in better], ddof=1))]
    assert found['base'].std == [None]
    assert found['base'].p == [None]
    wanted = stats.wilcoxon(np.mean(better, axis=0) - base[0]).pvalue
    assert found['better'].p == [pytest.approx(wanted)]
    assert wanted < 0.05 < found['a_like'].p[0]
    markdown = to_markdown(table)
    mean, deviation = np.mean(better), found['better'].std[0]
    assert rf'| better | 3 | **{mean:.2f} ± {deviation:.2f}**\* |' in markdown
    assert r'\* differs from "base" (two-sided Wilcoxon signed-rank test over the images' in markdown
    assert f'| a_like | 1 | {np.mean(alike):.2f} |' in markdown
    assert 'Mind this.' in markdown
    assert '## Published: a paper, table 1' in markdown
    assert '| a | theirs | PSNR | 30.5 |' in markdown
    assert r'a\_like' in to_latex(table)
    assert rf'\textbf{{{mean:.2f} $\pm$ {deviation:.2f}}}$^{{*}}$ \\' in to_latex(table)
    assert len(to_csv(table).splitlines()) == 1 + 8 * 5


def test_names_that_mean_something_to_markdown_and_latex():
    table = made_table({'base': [[20.0]], 'a|b <i>*x* 50% {z} \\foo ~^ $': [[21.0]]})
    assert r'| a\|b &lt;i>\*x\* 50% {z} \\foo ~^ \$ | 1 |' in to_markdown(table)
    wanted = r'a\textbar{}b \textless{}i\textgreater{}*x* 50\% \{z\} '
    wanted += r'\textbackslash{}foo \textasciitilde{}\textasciicircum{} \$'
    assert wanted in to_latex(table)


def test_a_table_without_numbers():
    table = made_table({'base': []})
    assert r'\midrule' not in to_latex(table)
    assert '## a' not in to_markdown(table)


def test_too_few_images_for_significance():
    table = made_table({'base': [[20.0, 21.0]], 'other': [[25.0, 26.0]]})
    assert [line.p for line in lines(table)] == [[None], [None]]
    assert r'\*' not in to_markdown(table).split('PSNR: `')[0]
