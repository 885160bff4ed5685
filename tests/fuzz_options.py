# ruff: noqa: E501
"""Mutated option files and raw YAML through loader, ``--force_yml`` and the whole check of options (not in pytest).

    python tests/fuzz_options.py --cases 10000

Each case is accepted or ends in a PDDError of one line; anything else, also one that takes longer than the deadline,
is printed and makes the exit status 1.
"""

import argparse
import os
import random
import signal
import string
import sys
import tempfile
import traceback
from collections import Counter
from copy import deepcopy
from pathlib import Path

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import pdd_arch  # noqa: F401
from pdd_arch.errors import PDDError
from pdd_arch.options.command_line import build_parser, read_options
from pdd_arch.options.schema import Options
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.run import check_plan

DEADLINE = 10  # seconds a case may take
SHIPPED = Path(__file__).parents[1] / 'options'

WORDS = ('', 'x', 'ema', 'PDDModel', 'RRDBNet', 'PerceptualLoss', 'GANLoss', 'L1Loss', 'PairedImageDataset', '~/x', '..',
         'a/b', 'no', 'conv5_4', 'features.3', 'random', 'Adam', 'SGD', 'LBFGS', 'calculate_lpips', 'calculate_iqa',
         'bundled:x', '\0', 'a\nb', '\ud800', '\u202e', 'ä' * 300, 'x' * 5000, '{}', '{0}', '%s')  # fmt: skip
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    1.5,
    -0.0,
    1e-30,
    1e300,
    float('nan'),
    float('inf'),
    2**31,
    2**63,
    10**40,
    True,
    False,
)

scalars = st.one_of(
    st.none(), st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.integers(), st.floats(), st.text(max_size=20)
)
keys = st.one_of(
    st.text(max_size=12), st.sampled_from(WORDS), st.sampled_from(list(Options.model_fields)), st.integers()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def places(options: object, path: tuple = ()) -> list[tuple]:
    """Paths of everything in an option file."""
    found = [path] if path else []
    items = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def mistype(rng: random.Random, word: str) -> str:
    """`word` with one letter changed."""
    at = rng.randrange(len(word) + 1)
    return word[:at] + rng.choice(string.ascii_lowercase + '_') + word[at + rng.randrange(2) :]


def mutate(options: dict, rng: random.Random, draw) -> None:
    """Change one thing, in place."""
    path = rng.choice(places(options) or [('name',)])
    section = options
    for key in path[:-1]:
        section = section[key]
    kind = rng.randrange(7)
    if kind == 0 and isinstance(section, dict):
        section.pop(path[-1], None)
    elif kind == 1 and isinstance(section, dict):
        section[mistype(rng, str(path[-1]))] = section.pop(path[-1], None)
    elif kind == 2 and isinstance(section, dict):
        section[draw(keys)] = draw(values)
    elif kind == 3:
        nested = draw(values)
        for _ in range(rng.randrange(80)):
            nested = [nested] if rng.random() < 0.5 else {'x': nested}
        section[path[-1]] = nested
    elif kind == 4:
        other = rng.choice(places(options))
        found = options
        for key in other:
            found = found[key]
        section[path[-1]] = deepcopy(found)
    else:
        section[path[-1]] = draw(scalars if kind == 5 else values)


def override(rng: random.Random, options: dict, draw) -> str:
    """A ``--force_yml`` entry."""
    path = [str(k) for k in rng.choice(places(options) or [('name',)])]
    if rng.random() < 0.3:
        path[rng.randrange(len(path))] = mistype(rng, rng.choice(path))
    if rng.random() < 0.2:
        path.append(draw(st.text(max_size=8)))
    value = draw(st.one_of(st.text(max_size=20), values.map(repr), st.sampled_from(WORDS)))
    return ':'.join(path) + rng.choice(['=', '=', '=', ' = ', '']) + value


def damage(rng: random.Random, content: bytes, draw) -> bytes:
    """Raw text with bytes changed, lines moved, or something nasty put in."""
    nasty = [b'\0', b'\xff\xfe', b'&a [*a]', b'*a', b'[' * 200, b'{a: ' * 60, b'<<: *a\n', b'!!python/name:os.system x', b'\t',
             b'!!int x', b'!!timestamp x', b'!!bool x', b'!!binary x', b'!!set {a, b}', b'2024-99-99', b'0x' + b'f' * 5000,
             b'9' * 5000, b'1' + b':59' * 3000, b'---\n', b'...\n', b'? [a]\n: b\n', b'%YAML 9.9\n', b'"\\ud800"', b'=',
             b'a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c]\n',
             b'!!omap [a]', b'!!pairs [a]', b'!!float x', b'!!null x', b'!!str [a]', b'!!map x', b'!!seq x']  # fmt: skip
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            content = content[:at] + rng.choice(nasty) + content[at:]
        elif kind == 1:
            content = content[:at] + draw(st.binary(max_size=8)) + content[at + rng.randrange(8) :]
        elif kind == 2:
            content = content[: at or 1]
        elif kind == 3:
            lines = content.split(b'\n')
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            content = b'\n'.join(lines)
        else:
            line_start = content.rfind(b'\n', 0, at) + 1
            content = content[:line_start] + b' ' * rng.randrange(1, 5) + content[line_start:]
    return content


def check(file: Path, overrides: list[str], is_train: bool) -> str:
    """What became of one option file: accepted, or the type of the error."""
    args = build_parser().parse_args(['-opt', str(file)])
    args.force_yml = overrides
    try:
        check_plan(read_options(args, os.getcwd(), is_train))
    except PDDError as e:
        text = str(e)
        assert len(text.splitlines()) == 1, f'not one line: {text!r}'
        assert len(text) < 3000, f'a message of {len(text)} characters: {text[:300]}'
        assert 'pydantic' not in text, text
        assert text.split(':')[0].strip(), f'names nothing: {text}'
        return type(e).__name__
    return 'accepted'


def _too_long(*_):
    raise TimeoutError(f'longer than {DEADLINE} s')


def main() -> int:
    """Run the cases; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=10000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    texts = [f.read_bytes() for f in sorted(SHIPPED.glob('*.yml'))]
    small = load_options(SHIPPED / 'pdd_demo.yml')
    shipped = [small, *(load_options(f) for f in sorted(SHIPPED.glob('*.yml')))]
    for opt in shipped:
        opt['num_gpu'] = 0
        for key in [k for k in opt['path'] if k.startswith('pretrain')]:
            opt['path'][key] = None  # files that are not here would end every case early
    results, failures = Counter(), {}
    signal.signal(signal.SIGALRM, _too_long)

    @seed(args.seed)
    @settings(max_examples=args.cases, database=None, deadline=None, phases=[Phase.generate], print_blob=False,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def case(data) -> None:
        rng = random.Random(data.draw(st.integers(0, 2**64)))
        overrides = []
        if rng.random() < 0.25:
            kind, content = 'text', damage(rng, rng.choice(texts), data.draw)
        else:
            kind, opt = 'options', deepcopy(rng.choice(shipped))
            for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
                mutate(opt, rng, data.draw)
            content = yaml.safe_dump(opt, sort_keys=False, allow_unicode=False).encode('utf-8', 'surrogatepass')
            if rng.random() < 0.3:
                overrides = [override(rng, opt, data.draw) for _ in range(rng.randrange(1, 3))]
        file = Path('case.yml')
        file.write_bytes(content)
        signal.alarm(DEADLINE)
        try:
            results[f'{kind}: {check(file, overrides, rng.random() < 0.8)}'] += 1
        except Exception as e:
            trace = traceback.extract_tb(e.__traceback__)[-1]
            where = f'{type(e).__name__} in {trace.name}, line {trace.lineno}: {str(e)[:300]}'
            results['FAILED'] += 1
            if where not in failures:
                failures[where] = (traceback.format_exc(limit=-6), content, overrides)
        finally:
            signal.alarm(0)

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        case()
        os.chdir('/')
    for where, (trace, content, overrides) in list(failures.items())[:10]:
        sys.stdout.write(f'--- {where}\n{trace}\noverrides: {overrides}\n{content[-600:]!r}\n')
    counts = ', '.join(f'{name} {n}' for name, n in sorted(results.items()))
    sys.stdout.write(f'{sum(results.values())} cases, {len(failures)} different failures; {counts}\n')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
