"""Collects what was said about wrong input, for the table that ``pytest --bad-inputs FILE`` writes."""

import os
import re
from pathlib import Path

_said: dict[str, str] = {}


def note(message: str, given: str | None = None) -> None:
    """Remember a message.

    Args:
        message: what the user sees.
        given: what was wrong, in words; the running test's name by default.
    """
    test = os.environ.get('PYTEST_CURRENT_TEST', '').split('::')[-1].removesuffix(' (call)')
    _said[given or _in_words(test)] = message.removeprefix('basicsr: error: ')


def _in_words(test: str) -> str:
    name, _, case = test.partition('[')
    words = name.removeprefix('test_').replace('_', ' ')
    return f'{words}: {case[:-1]}' if case else words


def write_table(file: Path) -> None:
    """Write all messages as a Markdown table."""

    def cell(text: str) -> str:
        # folders of this machine and of this test run say nothing
        text = text.replace(f'{Path(__file__).resolve().parents[1]}/', '')
        text = re.sub(r'/\S*?/(?:pytest-of-\S+?|test_\w+?)/(?:pytest-\d+/)?(?:\w+?\d+/)?', '', text)
        text = re.sub(r'\(looked from [^)]*\)', '(looked from ...)', text)
        return ' '.join(text.split()).replace('|', '\\|').replace('<', '&lt;')

    rows = [f'| {cell(given)} | {cell(said)} |' for given, said in _said.items()]
    head = (
        f'# {len(rows)} bad inputs and what is said about them\n\n'
        'Written by `python -m pytest -n 0 tests/test_bad_input.py tests/test_bad_files.py --bad-inputs FILE`. Each is '
        'one line on standard error after `basicsr: error: `, with exit status 1 (the commands), or the message of the '
        'exception (the functions).\n\n| given | said |\n|---|---|\n'
    )
    file.write_text(head + '\n'.join(rows) + '\n', encoding='utf-8')
