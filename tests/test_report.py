"""`pdd report`: what is on the page, that nothing in it is read as HTML, its size, and its use in a real browser."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.registry import METRIC_REGISTRY
from report_material import (
    BLUE,
    CLOSING,
    GAINS,
    GREEN,
    HOSTILE,
    IMAGES,
    RED,
    embedded,
    flat,
    load,
    make_run,
    make_table,
    pdd,
    save,
    write,
)
from scipy import stats

from pdd_arch.report import embed, html_page
from pdd_arch.report.of_run import is_run
from pdd_arch.report.of_table import page_of_table
from pdd_arch.report.page import ImageFolder, plain_name
from pdd_arch.training.record import RECORD, TrainingRecord


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A table's folder with its page."""
    folder = make_table(tmp_path_factory.mktemp('made'))
    assert pdd(folder) == 0
    return folder


@pytest.fixture
def table(made, tmp_path):
    return shutil.copytree(made, tmp_path / 'table')


# ---------------------------------------------------------------- numbers
def test_statistics_of_a_row(made):
    data = embedded(made / 'report.html', 'data')
    adapted = next(r for r in data['rows'] if r['name'] == 'adapted')
    assert adapted['mean'][0] == pytest.approx(20 + np.mean(GAINS))
    assert adapted['std'][0] == pytest.approx(0.1)  # of the seeds' means, not of the images
    assert [s['means'][0] for s in adapted['seeds']] == pytest.approx([20.3375, 20.4375, 20.5375])
    assert adapted['best'] == [True, True]
    assert next(r for r in data['rows'] if r['name'] == 'generalist')['std'] == [None, None]
    assert data['scores']['phone']['adapted']['a2']['mean'][0] == pytest.approx(19)


def test_best_is_by_what_is_printed_and_without_references(table):
    content = load(table)
    for row, value in zip(content['rows'], (99, 20.001, 20.004), strict=True):
        for seed in row['seeds']:
            seed['scores'] = {'a1': [value, None]}
    save(table, content)
    data = html_page.page_data(page_of_table(table))
    assert [r['best'] for r in data['rows']] == [[False, False], [True, False], [True, False]]
    assert data['rows'][0]['mean'][1] is None


def test_numbers_that_json_does_not_know(table):
    content = load(table)
    content['rows'][0]['seeds'][0]['scores'] = {'a1': [float('inf'), float('nan')]}
    save(table, content)
    assert pdd(table) == 0
    row = embedded(table / 'report.html', 'data')['rows'][0]
    assert row['mean'] == [{'$infinite': 1}, None]


def test_significance_is_of_the_images_and_against_the_baseline(table):
    content = load(table)
    gains = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    scores = {'bicubic': [-gains], 'generalist': [0 * gains], 'adapted': [gains, gains - 0.05, gains + 0.05]}
    for row in content['rows']:
        for seed, values in zip(row['seeds'], scores[row['name']], strict=True):
            seed['scores'] = {f'i{n}': [20 + v, None] for n, v in enumerate(values)}
    save(table, content)
    rows = {r['name']: r['p'] for r in html_page.page_data(page_of_table(table))['rows']}
    assert rows['generalist'] == [None, None]
    assert rows['adapted'] == [pytest.approx(stats.wilcoxon(gains).pvalue), None]
    assert rows['adapted'][0] < 0.05
    content['rows'][2]['seeds'][1]['scores'].pop('i0')  # seeds of different images: no pairs
    save(table, content)
    rows = {r['name']: r['p'] for r in html_page.page_data(page_of_table(table))['rows']}
    assert rows['adapted'] == [None, None]


# ---------------------------------------------------------------- page
def test_versions_of_a_picture(made):
    data, images = (embedded(made / 'report.html', name) for name in ('data', 'image-data'))
    picture = data['pictures'][0]
    assert [v['label'] for v in picture['versions']] == ['LR', 'bicubic', 'generalist', 'adapted (seed 0)', 'HR']
    assert (picture['width'], picture['height'], picture['corner']) == (64, 48, None)
    assert sorted(v['image'] for p in data['pictures'] for v in p['versions']) == list(range(len(images)))
    assert all(url.startswith('data:image/') for url in images)
    assert data['reductions'] == []


def test_nothing_from_outside_is_read_as_html(made):
    text = (made / 'report.html').read_text(encoding='utf-8')
    assert HOSTILE not in text
    assert CLOSING not in text
    assert '<title>Miniature &lt;img src=x onerror=alert(1)&gt;</title>' in text
    assert text.count('<script') == text.count('</script>') == 3
    assert embedded(made / 'report.html', 'data')['notes'][0] == CLOSING  # as it was, as data


def test_nothing_is_loaded_from_elsewhere(made):
    text = (made / 'report.html').read_text(encoding='utf-8')
    assert 'default-src &#x27;none&#x27;' in text
    own = re.sub(r'<title>.*?</title>|<script type="application/json".*?</script>', '', text, flags=re.DOTALL).replace(
        'http://www.w3.org/', ''
    )
    assert not re.search(r'https?:|@import|\burl\(|\ssrc=|<link', own)
    assert 'innerHTML' not in text
    assert 'insertAdjacentHTML' not in text


def test_lone_surrogates_and_line_separators():
    text = html_page.script_json(['\udcff', '\u2028', '<!--', '&'])
    text.encode()
    assert json.loads(text) == ['?', '\u2028', '<!--', '&']
    assert not set('<>&\u2028') & set(text)


@pytest.mark.parametrize(
    ('stem', 'name'),
    [('0801x4', '0801'), ('Canon_001_LR4', 'Canon_001'), ('panasonic_1_x1', 'panasonic_1'), ('005', '005')],
)
def test_names_without_resolution(stem, name):
    assert plain_name(stem) == name


def test_an_ambiguous_name_is_not_guessed(tmp_path):
    for name in ('a_x2.png', 'a_x4.png', 'b_x4.png'):
        write(tmp_path / name, flat(RED))
    folder = ImageFolder(tmp_path, 'lq')
    assert folder.find('a') is None
    assert folder.find('a_x2').name == 'a_x2.png'
    assert folder.find('b').name == 'b_x4.png'


# ---------------------------------------------------------------- what is missing is said
def test_missing_and_wrong_images_are_said(table, capsys):
    (table / 'out/adapted/a1.png').unlink()
    write(table / 'out/adapted/a2.png', flat(BLUE, 40, 40))
    content = load(table)
    content['datasets']['phone']['gt'] = 'nowhere'
    del content['rows'][1]['seeds'][0]['scores']['a10']
    save(table, content)
    assert pdd(table) == 0
    said = capsys.readouterr().err
    for text in (
        'phone, adapted: no image of a1.',
        'a2.png has 40 x 40 pixels, expected 64 x 48',
        'datasets.phone.gt: there is no folder nowhere',
        'phone, generalist, seed 0: has scores of 3 of 4 images (not a10)',
    ):
        assert text in said
        assert any(text in problem for problem in embedded(table / 'report.html', 'data')['problems'])


def test_an_image_name_cannot_leave_its_folder(table):
    write(table / 'secret.png', flat(RED))
    content = load(table)
    content['rows'][1]['seeds'][0]['scores']['../../secret'] = [1, 1]
    save(table, content)
    assert all('secret' not in p.name for p in page_of_table(table).pictures)


def make_lmdb(folder, names):
    """An LMDB beside a folder, of its images `names` (key -> file)."""
    from basicsr.utils.lmdb_util import LmdbMaker

    maker = LmdbMaker(f'{folder}.lmdb', map_size=1 << 20)
    for key, name in names.items():
        height, width = cv2.imread(str(folder / name)).shape[:2]
        maker.put((folder / name).read_bytes(), key, (height, width, 3))
    maker.close()
    shutil.rmtree(folder)


def test_databases_in_place_of_folders(table):
    for key, ending in (('lq', 'x4.png'), ('gt', '.png')):
        make_lmdb(table / key, {f'set/{i}': f'{i}{ending}' for i in IMAGES})
    content = load(table)
    content['datasets'] = {'phone': {'lq': 'lq.lmdb', 'gt': 'gt.lmdb'}}
    save(table, content)
    found = page_of_table(table)
    assert found.problems == []
    assert [v.label for v in found.pictures[0].versions] == ['LR', 'bicubic', 'generalist', 'adapted (seed 0)', 'HR']
    assert found.pictures[0].versions[-1].load()[0, 0].tolist() == list(RED[::-1])
    assert pdd(table) == 0

    (table / 'lq.lmdb' / 'meta_info.txt').unlink()
    assert any('is not an LMDB made by BasicSR' in text for text in page_of_table(table).problems)


def test_a_run_on_databases(tmp_path):
    folder = make_run(tmp_path)
    for key in ('lr', 'hr'):
        make_lmdb(tmp_path / key, {'p': 'p.png', 'q': 'q.png'})
    file = folder / 'tiny.yml'
    file.write_text(file.read_text().replace('dataroot_lq: lr', 'dataroot_lq: lr.lmdb').replace(': hr', ': hr.lmdb'))
    assert pdd(folder) == 0
    data = embedded(folder / 'report.html', 'data')
    assert [p['name'] for p in data['pictures']] == ['p', 'q']
    assert [v['label'] for v in data['pictures'][0]['versions']][-1] == 'HR'


def test_images_of_16_bits_and_of_one_channel(table):
    write(table / 'lq' / 'a1x4.png', np.full((12, 16), 100, np.uint8))
    write(table / 'gt' / 'a1.png', np.full((48, 64), 100 * 257, np.uint16))
    picture = page_of_table(table).pictures[0]
    for version in (picture.versions[0], picture.versions[-1]):
        image = version.load()
        assert (image.dtype, image.shape[2]) == (np.uint8, 3)
        assert (image == 100).all()


def test_what_was_not_computed_is_on_the_page(table):
    content = load(table)
    content['rows'][0]['seeds'][0] |= {'not_computed': {'LPIPS': 'no weights'}, 'undefined': {'PSNR': 'no number'}}
    save(table, content)
    assert page_of_table(table).problems == ['no weights', 'no number']


# ---------------------------------------------------------------- size
def test_images_are_reduced_step_by_step_and_it_is_said(tmp_path, capsys):
    folder = make_table(tmp_path / 'noise', noise=1)
    page_of = page_of_table(folder)
    whole = embed.embed(page_of, 10**7)
    assert whole.reductions == []
    assert whole.images[-1].startswith('data:image/webp')
    size = sum(map(len, whole.images))
    smaller = embed.embed(page_of, size * 3 // 4)
    assert any('JPEG of quality' in text for text in smaller.reductions)
    assert len(smaller.pictures) == 4
    few = embed.embed(page_of, size // 4)
    assert 0 < len(few.pictures) < 4
    assert few.pictures[0]['name'] == 'a10'  # the largest gain or loss stays
    assert any('images are left out, for the size of the page' in text for text in few.reductions)

    assert pdd(folder) == 0
    empty = (folder / 'report.html').stat().st_size - size
    limit = (empty + size // 3 + 4000) / 1e6
    assert pdd(folder, '--max-size', limit, '-o', folder / 'small.html') == 0
    assert (folder / 'small.html').stat().st_size <= limit * 1e6
    said = embedded(folder / 'small.html', 'data')['reductions']
    assert said
    said_on_terminal = capsys.readouterr().err
    assert all(text in said_on_terminal for text in said)


def test_crop_shows_where_methods_differ(table, capsys):
    image = flat(BLUE)
    image[30:46, 44:60] = GREEN
    image[30:46, 44:60, 0] = 255
    for name, colour in (('adapted', None), ('generalist', BLUE), ('bicubic', BLUE)):
        for i in IMAGES:
            write(table / f'out/{name}/{i}.png', image if colour is None else flat(colour))
    out = embed.embed(page_of_table(table), 10**7, crop=16, limit=2)
    shown = out.pictures
    assert [p['name'] for p in shown] == ['a2', 'a10']
    assert [(p['width'], p['height']) for p in shown] == [(16, 16)] * 2
    left, top = shown[0]['corner']
    assert abs(left - 44) <= 4
    assert abs(top - 30) <= 4
    assert left % 4 == top % 4 == 0
    assert pdd(table, '--crop', 64, '--limit', 2) == 0
    assert '2 of 4 images are left out, as --limit asks' in capsys.readouterr().err


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda t: t.pop('metrics'), 'metrics: Field required'),
        (lambda t: t['metrics'][0].update(better='more'), "metrics.0.better: Input should be 'higher' or 'lower'"),
        (lambda t: t['rows'][0]['seeds'][0]['scores'].update(a1=[1]), "image 'a1': expected 2 values, one per metric"),
        (lambda t: t.update(baseline='general'), "baseline: expected the name of a row, one of ['adapted', 'bicubic'"),
        (lambda t: t['rows'].append(t['rows'][0]), "'bicubic' appears twice for dataset 'phone'"),
    ],
)
def test_a_wrong_table_is_one_line(table, capsys, change, expected):
    content = load(table)
    change(content)
    save(table, content)
    assert pdd(table) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert 'table.json' in said
    assert expected in said
    assert 'pdd tables' in said


def test_the_page_of_an_adaptation_is_named(tmp_path, capsys):
    (tmp_path / 'adaptation.json').write_text('{}')
    (tmp_path / 'report.html').write_text(html_page.GENERATOR)
    assert pdd(tmp_path) == 1
    assert f'The page of this adaptation is there already: {tmp_path}/report.html.' in capsys.readouterr().err


def test_wrong_places(table, tmp_path, capsys):
    (tmp_path / 'mine.html').write_text('mine')
    (table / 'broken.json').write_text('{')
    for args, expected in [
        ((tmp_path / 'none',), 'there is no such folder'),
        ((tmp_path,), 'is neither the folder of a run'),
        ((table, '-o', tmp_path / 'mine.html'), 'is not a report of pdd'),
        ((table, '-o', tmp_path / 'no/such.html'), 'there is no folder'),
        ((table, '-o', tmp_path), 'is a folder, expected a file'),
        ((table, '--max-size', '0.01'), '--max-size: the page has'),
    ]:
        assert pdd(*args) == 1
        said = capsys.readouterr().err
        assert expected in said
        assert said.count('\n') == 1
    assert (tmp_path / 'mine.html').read_text() == 'mine'


def test_a_broken_image_is_named(table, capsys):
    file = table / 'out/adapted/a1.png'
    file.write_bytes(file.read_bytes()[:-30])
    assert pdd(table) == 1
    said = capsys.readouterr().err
    assert 'a1.png' in said
    assert said.count('\n') == 1


@pytest.mark.parametrize('args', [['--max-size', 'x'], ['--max-size', 'nan'], ['--crop', '5'], ['--limit', '0']])
def test_wrong_arguments(table, args):
    with pytest.raises(SystemExit) as stop:
        pdd(table, *args)
    assert stop.value.code == 2


# ---------------------------------------------------------------- runs
def test_page_of_a_run(tmp_path, capsys):
    folder = make_run(tmp_path)
    assert pdd(folder) == 0
    data = embedded(folder / 'report.html', 'data')
    curves = {c['title']: c for c in data['curves']}
    assert curves['psnr']['series'] == {'pairs': [[50, 22.5], [100, 23.0]]}
    assert (curves['psnr']['unit'], curves['lpips']['better']) == ('dB', 'lower')
    assert curves['l_g_pix']['series']['training'] == [[20, 0.04], [40, None], [100, 0.03]]
    labels = [v['label'] for v in data['pictures'][0]['versions']]
    assert labels == ['LR', 'bicubic', 'iteration 50', 'iteration 100', 'HR']
    assert [r['name'] for r in data['rows']] == ['bicubic', 'iteration 50', 'iteration 100']
    assert data['baseline'] in ('bicubic', 'iteration 50')
    assert 'lpips was not computed' in capsys.readouterr().err
    assert any('those of the first (50) and the last (100) are shown' in n for n in data['notes'])


def test_a_metric_without_a_number_for_one_image_has_those_of_the_others(tmp_path, monkeypatch, capsys):
    folder = make_run(tmp_path)
    broken = cv2.imread(str(tmp_path / 'hr/p.png'))

    def calculate_nothing(img, img2):
        if np.array_equal(img2, broken):
            raise np.linalg.LinAlgError('SVD')
        return 3.0

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_nothing', calculate_nothing)
    assert pdd(folder) == 0
    data = embedded(folder / 'report.html', 'data')
    column, scores = [m['name'] for m in data['metrics']].index('lpips'), data['scores']['pairs']['iteration 100']
    assert {name: image['mean'][column] for name, image in scores.items()} == {'p': None, 'q': 3.0}
    assert 'lpips was not computed for 3 images, the first is p (bicubic): LinAlgError SVD' in capsys.readouterr().err


def test_a_continued_run_overwrites_what_it_repeats(tmp_path):
    folder = make_run(tmp_path)
    record = TrainingRecord(folder)
    record.add('start', iteration=50, epoch=0, total_iterations=100)
    record.add('validation', iteration=100, dataset='pairs', metrics=dict(psnr=24.0))
    assert pdd(folder) == 0
    curves = {c['title']: c for c in embedded(folder / 'report.html', 'data')['curves']}
    assert curves['psnr']['series'] == {'pairs': [[50, 22.5], [100, 24.0]]}


def test_a_run_without_a_record_has_images_and_scores_but_no_curves(tmp_path, capsys):
    folder = make_run(tmp_path)
    (folder / RECORD).unlink()
    assert pdd(folder) == 0
    data = embedded(folder / 'report.html', 'data')
    assert data['curves'] == []
    assert [r['name'] for r in data['rows']] == ['bicubic', 'iteration 50', 'iteration 100']
    assert len(data['pictures']) == 2
    assert capsys.readouterr().err.count('There is no record.jsonl in this folder') == 1
    assert sum('record.jsonl' in text for text in data['problems']) == 1
    (folder / 'train_tiny_20260101_000000.log').unlink()
    assert not is_run(folder)


def test_options_are_relative_to_where_the_run_was_started(tmp_path, monkeypatch):
    """The command may be given elsewhere, and stays there."""
    folder = make_run(tmp_path / 'started')
    network = dict(type='SRVGGNetCompact', num_feat=8, num_conv=2, upscale=4)
    torch.save({'params': build_network(dict(network)).state_dict()}, tmp_path / 'started' / 'start.pth')
    options = yaml.safe_load((folder / 'tiny.yml').read_text())
    options |= dict(network_g=network, path=dict(pretrain_network_g='start.pth'))
    (folder / 'tiny.yml').write_text(yaml.safe_dump(options))
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(os, 'chdir', lambda _: pytest.fail('the working directory is that of the whole process'))
    assert pdd(folder, '--generalist') == 0
    data = embedded(folder / 'report.html', 'data')
    assert [v['label'] for v in data['pictures'][0]['versions']][2] == 'generalist'
    assert data['baseline'] == 'generalist'


def test_a_run_continued_with_other_metrics_keeps_the_curves_of_the_former(tmp_path):
    folder = make_run(tmp_path)
    options = yaml.safe_load((folder / 'tiny.yml').read_text())
    options['val']['metrics'].pop('lpips')
    (folder / 'tiny.yml').write_text(yaml.safe_dump(options))
    assert pdd(folder) == 0
    curves = {c['title']: c for c in embedded(folder / 'report.html', 'data')['curves']}
    assert curves['lpips']['better'] is None


def test_outputs_of_another_size_do_not_stop_the_generalist(tmp_path):
    folder = make_run(tmp_path)
    network = dict(type='SRVGGNetCompact', num_feat=8, num_conv=2, upscale=4)
    torch.save({'params': build_network(dict(network)).state_dict()}, tmp_path / 'start.pth')
    options = yaml.safe_load((folder / 'tiny.yml').read_text())
    options |= dict(network_g=network, path=dict(pretrain_network_g='start.pth'))
    (folder / 'tiny.yml').write_text(yaml.safe_dump(options))
    for file in folder.glob('visualization/p/*.png'):
        write(file, np.zeros((24, 32, 3), np.uint8))
    assert pdd(folder, '--generalist') == 0
    picture = next(p for p in embedded(folder / 'report.html', 'data')['pictures'] if p['name'] == 'p')
    assert [v['label'] for v in picture['versions']] == ['LR', 'bicubic', 'generalist', 'HR']


def test_generalist_of_a_run_needs_weights(tmp_path, capsys):
    assert pdd(make_run(tmp_path), '--generalist') == 1
    assert 'path.pretrain_network_g' in capsys.readouterr().err
