"""`pdd report` in a real browser: clicks, drags, wheel, keyboard and pixels."""

import shutil

import cv2
import numpy as np
import pytest
from report_material import BLUE, GAINS, GREEN, IMAGES, RED, load, make_run, make_table, pdd, save

from pdd_arch.report.html_page import write_page
from pdd_arch.report.page import Curve, Page


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A table's folder with its page."""
    folder = make_table(tmp_path_factory.mktemp('made'))
    assert pdd(folder) == 0
    return folder


def chromium():
    for name in ('chromium', 'chromium-browser', 'google-chrome'):
        if shutil.which(name):
            return shutil.which(name)
    return None


@pytest.fixture(scope='module')
def browser():
    driver = pytest.importorskip('playwright.sync_api', reason='needs the package playwright')
    if chromium() is None:
        pytest.skip('needs Chromium on the PATH')
    with driver.sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium(), args=['--no-sandbox'])
        yield instance
        instance.close()


class Watched:
    """A browser page that keeps what it should not have done."""

    def __init__(self, browser, file, **context):
        self.context = browser.new_context(viewport={'width': 1200, 'height': 900}, **context)
        self.context.set_default_timeout(8000)
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on('console', lambda m: self.wrong.append(m.text))
        self.page.on('pageerror', lambda e: self.wrong.append(str(e)))
        self.page.on('dialog', lambda d: (self.wrong.append('dialog'), d.dismiss()))
        self.page.on('request', lambda r: r.url.startswith(('data:', 'file:')) or self.wrong.append(r.url))
        self.page.goto(file.as_uri())


@pytest.fixture
def opened(browser, made):
    watched = Watched(browser, made / 'report.html')
    yield watched.page
    watched.context.close()
    assert watched.wrong == []


def names(page):
    return page.locator('.card h3').all_text_contents()


def colours(page, viewer, *places):
    """RGB of a screenshot at parts of a viewer's width, a quarter from its bottom."""
    picture = cv2.imdecode(np.frombuffer(viewer.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    return [tuple(int(c) for c in picture[height * 3 // 4, int(width * p)]) for p in places]


def close(found, expected):
    return all(abs(a - b) <= 6 for a, b in zip(found, expected, strict=True))


@pytest.mark.browser
def test_browser_orders(opened):
    by_gain = [name for _, name in sorted(zip(GAINS, IMAGES, strict=True))]
    assert names(opened) == by_gain  # the largest loss first
    opened.get_by_role('radio', name='Largest gain first').click()
    assert names(opened) == by_gain[::-1]
    opened.get_by_role('radio', name='By name').click()
    assert [n for n in names(opened) if n.startswith('a')] == ['a1', 'a2', 'a10']
    opened.get_by_role('radio', name='As in the table').click()
    assert names(opened) == list(IMAGES)
    assert 'better than generalist on 3 and worse on 1 of 4 images' in opened.locator('.summary').inner_text()
    assert opened.locator('.card .gain').first.inner_text() == '+0.50 dB'
    opened.get_by_label('in', exact=True).select_option(label='LPIPS')
    assert opened.locator('.card .gain').first.inner_text() == '+0.1000'  # lower is better: a gain


@pytest.mark.browser
def test_browser_shows_significance(browser, tmp_path):
    """Marked where the baseline is beaten on every one of seven images, and not where it is by turns."""
    folder = make_table(tmp_path)
    content = load(folder)
    for row in content['rows']:
        gain = row['name'] == 'adapted'
        for seed in row['seeds']:
            seed['scores'] = {f'i{n}': [20 + gain * (n + 1) / 8, 0.3 + gain * (-1) ** n * n / 9] for n in range(7)}
    save(folder, content)
    assert pdd(folder) == 0
    watched = Watched(browser, folder / 'report.html')
    row = watched.page.locator('.scores tbody tr', has_text='adapted')
    assert [cell.endswith('*') for cell in row.locator('td').all_inner_texts()] == [True, False]
    assert 'p = 0.016 against generalist (7 images)' in row.locator('td').first.get_attribute('title')
    legend = watched.page.locator('#table-box > p').inner_text()
    assert '*: differs from generalist, better or worse (two-sided Wilcoxon signed-rank test' in legend
    watched.context.close()
    assert watched.wrong == []


@pytest.mark.browser
def test_browser_shows_what_shall_be_first(browser, tmp_path):
    curves = [Curve('PSNR', {'set': [(0.0, 20.0), (1.0, 21.0)]})]
    write_page(Page('title', 'source', (), (), notes=['a note'], curves=curves, first=('notes',)), tmp_path / 'p.html')
    watched = Watched(browser, tmp_path / 'p.html')
    assert watched.page.locator('#nav a').all_text_contents() == ['Notes', 'Curves']
    heads = watched.page.locator('main > section:not([hidden]) > h2').all_text_contents()
    watched.context.close()
    assert heads == ['Notes', 'Curves']
    assert watched.wrong == []


def test_browser_table_sorts(opened):
    def rows():
        return [
            t.split('\n')[0].removesuffix('baseline').removesuffix('reference')
            for t in opened.locator('.scores tbody th').all_text_contents()
        ]

    head = opened.locator('.scores thead th', has_text='LPIPS')
    head.get_by_role('button').focus()
    opened.keyboard.press('Enter')
    assert head.get_attribute('aria-sort') == 'ascending'
    assert rows()[0] == 'adapted'
    opened.keyboard.press('Enter')
    assert rows()[-1] == 'adapted'
    assert opened.locator('td.best').count() == 2
    assert '± 0.10' in opened.locator('td.best').first.inner_text()
    assert opened.locator('.differs').count() == 0  # of four images nothing can be said
    assert 'No significance is given' in opened.locator('#table-box > p').inner_text()


@pytest.mark.browser
def test_browser_divider_drags_and_shows_both_versions(opened):
    card = opened.locator('.card').first
    viewer, divider = card.locator('.viewer'), card.locator('.divider')
    viewer.scroll_into_view_if_needed()
    opened.wait_for_function(
        '[...document.querySelectorAll(".card img")].slice(0, 2).every((i) => i.complete && i.naturalWidth)'
    )
    left, right = colours(opened, viewer, 0.25, 0.75)
    assert close(left, GREEN)
    assert close(right, BLUE)
    box = viewer.bounding_box()
    opened.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    opened.mouse.down()
    opened.mouse.move(box['x'] + box['width'] * 0.9, box['y'] + box['height'] / 2, steps=4)
    opened.mouse.up()
    assert abs(int(divider.get_attribute('aria-valuenow')) - 90) <= 1
    assert divider.get_attribute('aria-valuetext') == '90 % generalist, 10 % adapted (seed 0)'
    assert close(*colours(opened, viewer, 0.75), GREEN)
    card.get_by_label('Left', exact=True).select_option(label='HR')
    opened.wait_for_timeout(100)
    assert close(*colours(opened, viewer, 0.25), RED)
    assert opened.locator('.card').nth(1).locator('.tag-left').inner_text() == 'generalist'
    opened.get_by_label('Left of all').select_option(label='LR')
    assert set(opened.locator('.tag-left').all_inner_texts()) == {'LR'}


@pytest.mark.browser
def test_browser_divider_by_keyboard(opened):
    divider = opened.locator('.divider').first
    divider.focus()
    for key, expected in (
        ('ArrowRight', 51),
        ('Shift+ArrowLeft', 41),
        ('PageUp', 51),
        ('Home', 0),
        ('End', 100),
        ('ArrowDown', 99),
    ):
        opened.keyboard.press(key)
        assert int(divider.get_attribute('aria-valuenow')) == expected, key
    assert divider.get_attribute('role') == 'slider'


def places(page, index):
    """Position and size of the two images of a viewer."""
    images = page.locator('.card').nth(index).locator('.layer img')
    return [[images.nth(i).evaluate(f'(e) => e.style.{k}') for k in ('left', 'top', 'width')] for i in (0, 1)]


@pytest.mark.browser
def test_browser_zoom_and_position_are_the_same_in_both_versions(opened):
    viewer = opened.locator('.viewer').first
    viewer.scroll_into_view_if_needed()
    start, other = places(opened, 0)[0], places(opened, 1)
    box = viewer.bounding_box()
    opened.mouse.move(box['x'] + box['width'] * 0.25, box['y'] + box['height'] / 2)
    scrolled = opened.evaluate('scrollY')
    opened.mouse.wheel(0, 40)
    opened.wait_for_timeout(200)
    assert opened.evaluate('scrollY') != scrolled  # the wheel is the page's
    assert places(opened, 0)[0] == start
    viewer.focus()
    scrolled = opened.evaluate('scrollY')
    opened.mouse.wheel(0, -200)
    opened.wait_for_timeout(200)
    assert opened.evaluate('scrollY') == scrolled  # now it is the viewer's
    first, second = places(opened, 0)
    assert first == second != start
    opened.keyboard.press('+')
    opened.keyboard.press('ArrowRight')
    first, second = places(opened, 0)
    assert first == second
    before = float(first[0][:-2])
    opened.mouse.down()
    opened.mouse.move(box['x'] + box['width'] * 0.25 + 40, box['y'] + box['height'] / 2 + 5, steps=3)
    opened.mouse.up()
    first, second = places(opened, 0)
    assert first == second
    assert float(first[0][:-2]) == pytest.approx(before + 40, abs=1)
    assert 'pixelated' in viewer.locator('img').first.get_attribute('class')
    assert places(opened, 1) == other
    opened.get_by_label('Move all pictures together').check()
    viewer.focus()
    opened.keyboard.press('+')
    assert places(opened, 1) == places(opened, 0)
    opened.keyboard.press('0')
    assert places(opened, 0)[0] == start == places(opened, 2)[1]


@pytest.mark.browser
def test_browser_everything_is_reached_with_the_keyboard(opened):
    seen = []
    for _ in range(80):
        opened.keyboard.press('Tab')
        seen.append(
            opened.evaluate(
                '() => { const e = document.activeElement; '
                'const shown = e.closest(".divider")?.firstChild || (e.type === "radio" ? e.nextSibling : e); '
                'const s = getComputedStyle(shown); '
                'return [e.className || e.tagName, s.outlineStyle !== "none"]; }'
            )
        )
    reached = {name for name, _ in seen}
    assert {'A', 'BUTTON', 'SELECT', 'INPUT', 'SUMMARY', 'viewer', 'divider'} <= reached
    assert [name for name, visible in seen if not visible and name != 'BODY'] == []
    bars = opened.locator('.bars button')
    bars.first.focus()
    opened.keyboard.press('End')
    opened.keyboard.press('Enter')
    assert opened.evaluate('document.activeElement.textContent') == 'a10'


@pytest.mark.browser
def test_browser_curves_and_narrow_dark_page(browser, tmp_path):
    folder = make_run(tmp_path)
    assert pdd(folder) == 0
    watched = Watched(browser, folder / 'report.html', color_scheme='dark')
    opened = watched.page
    chart = opened.locator('#charts svg').first
    chart.focus()
    assert opened.locator('.readout').first.inner_text() == 'iteration 100: 23 dB'
    opened.keyboard.press('ArrowLeft')
    assert opened.locator('.readout').first.inner_text() == 'iteration 50: 22.5 dB'
    box = chart.bounding_box()
    opened.mouse.move(box['x'] + box['width'] * 0.95, box['y'] + 50)
    assert 'iteration 100' in opened.locator('.readout').first.inner_text()
    assert opened.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(21, 23, 26)'
    opened.set_viewport_size({'width': 360, 'height': 740})
    assert opened.evaluate('document.documentElement.scrollWidth') <= 360  # nothing sticks out
    watched.context.close()
    assert watched.wrong == []
