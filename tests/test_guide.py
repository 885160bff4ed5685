"""The guide for people with photographs: its commands, links and examples, and its walk through the losses."""

import ast
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import pytest

from pdd_arch.commands.pdd_cli import main

GUIDE = Path(__file__).resolve().parents[1] / 'experiments' / 'guide'
PAGES = sorted(GUIDE.glob('*.md'))
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')


def blocks(language):
    return [
        (page.name, text) for page in PAGES for kind, text in BLOCK.findall(page.read_text('utf-8')) if kind == language
    ]


def commands():
    """All `pdd` commands of the guide: in blocks, typed or shown with their output, and in the text."""
    for page in PAGES:
        text = page.read_text('utf-8')
        shown = [line.removeprefix('$ ') for _, block in BLOCK.findall(text) for line in block.splitlines()]
        inline = re.findall(r'`(pdd [^`]+)`', BLOCK.sub('', text))
        for line in (*shown, *inline):
            # `pdd adapt` alone is a name, and `pdd upscale: ...` a message
            if re.match(r'pdd \w+ .', line) and '...' not in line:
                yield line.split('  #')[0]


def anchors(page):
    """Names of the headings, as GitHub makes them."""
    for heading in re.findall(r'^#+ (.*)$', BLOCK.sub('', page.read_text('utf-8')), re.MULTILINE):
        yield re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


class Parsed(Exception):
    """Instead of running a command."""


@pytest.mark.parametrize('line', sorted(set(commands())))
def test_commands_are_understood(line, monkeypatch):
    words = shlex.split(line)[1:]
    if '--help' in words:
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
        return

    def parsed(_args):
        raise Parsed

    name = {'check': 'check_data'}.get(words[0], words[0])
    monkeypatch.setattr(importlib.import_module(f'pdd_arch.commands.{name}'), 'run', parsed)
    with pytest.raises(Parsed):
        main(words)


def test_there_are_commands():
    assert {line.split()[1] for line in commands()} >= {'adapt', 'upscale', 'export'}


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_relative_links_lead_somewhere(page):
    links = [link for link in LINK.findall(page.read_text('utf-8')) if '://' not in link]
    assert links or page.name == 'image_formats.md'
    for link in links:
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in set(anchors(target)), link


@pytest.mark.parametrize(('page', 'code'), blocks('python'))
def test_python_examples_import_what_there_is(page, code):
    for node in ast.walk(ast.parse(code, page)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith('pdd_arch'):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_pictures_are_small_enough_for_the_repository():
    assert sum(p.stat().st_size for p in GUIDE.iterdir() if p.suffix in ('.png', '.jpg')) < 1e6


def test_the_losses_on_a_picture(tmp_path, monkeypatch, capsys):
    script = GUIDE / 'losses_on_a_picture.py'
    monkeypatch.setattr(sys, 'argv', [str(script), '--out', str(tmp_path / 'drawn'), '--steps', '1'])
    runpy.run_path(str(script), run_name='__main__')
    printed = capsys.readouterr().out
    assert 'UNTRAINED, RANDOM' in printed
    values = dict(re.findall(r'6\. (l_inter|l_intra) = ([\d.e+-]+)', printed))
    assert float(values['l_inter']) > 0
    assert float(values['l_intra']) > 0
    drawn = sorted((tmp_path / 'drawn').iterdir())
    assert [p.name[0] for p in drawn] == list('123456')
    assert all(cv2.imread(str(p)).std() > 5 for p in drawn)
