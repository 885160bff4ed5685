"""Text from elsewhere in Markdown: it stays text, whatever it holds."""

import re

#: of a text that is longer the beginning is shown
MOST_CHARACTERS = 1000
#: what starts a link, a tag, a code, an emphasis or a cell anywhere, or a block at the beginning
_MARKUP = re.compile(r'[\\`*\[\]<>|]|^(?:[#~=]|[-+](?=\s|[-+]|$)|\d+(?=[.)]\s))')
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff]')


def escaped(text: str) -> str:
    """The text in one line of `MOST_CHARACTERS` at most, without markup and without what UTF-8 cannot hold."""
    text = _CONTROL.sub('?', ' '.join(text.split()))
    if len(text) > MOST_CHARACTERS:
        text = f'{text[:MOST_CHARACTERS]} ...'
    return _MARKUP.sub(lambda m: f'{m[0]}\\' if m[0].isdigit() else f'\\{m[0]}', text)


def code(text: str) -> str:
    """The text as code, unless something in it would end the code or the cell of a table."""
    return escaped(text) if text != escaped(text) else f'`{text}`'
