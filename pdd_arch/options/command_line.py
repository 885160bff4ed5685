"""From the command line and a YAML file to the options of a run.

BasicSR's flags, with a safe YAML loader and ``--force_yml`` without ``exec``.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from pdd_arch.errors import OptionError
from pdd_arch.options.messages import unknown_keys
from pdd_arch.options.run_options import RunOptions, schema_of, with_imports
from pdd_arch.options.yaml_file import load_options, parse_yaml
from pdd_arch.utils.wording import did_you_mean, show, show_key

#: whose sections have names that the user gives
_NAMED_SECTIONS = (('datasets',), ('val', 'metrics'))


def build_parser() -> argparse.ArgumentParser:
    """BasicSR's flags."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='job launcher')
    parser.add_argument('--auto_resume', action='store_true', help='continue from the newest training state')
    parser.add_argument('--debug', action='store_true', help="BasicSR's debug mode; full tracebacks")
    parser.add_argument(
        '--check',
        action='store_true',
        help='check options, data and weights, say what would run, and exit without writing anything',
    )
    parser.add_argument('--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--force_yml',
        nargs='+',
        default=[],
        metavar='A:B=C',
        help='override options, e.g. train:ema_decay=0.999',
    )
    add_import(parser)
    return parser


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add ``--import`` to a command that reads option files."""
    parser.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='FILE.py',
        help='import a file or module with classes of your own (losses, networks ...); can be repeated',
    )


def read_options(args: argparse.Namespace, root_path: str, is_train: bool) -> RunOptions:
    """The options of a command line from `build_parser`, with names, types and limits checked."""
    opt = load_options(args.opt)
    apply_overrides(opt, args.force_yml)
    opt = with_imports(opt, args.imports)
    return RunOptions.of(opt, is_train, root_path, args.launcher, args.auto_resume, args.debug)


def apply_overrides(opt: dict[str, Any], entries: Sequence[str]) -> None:
    """Apply ``--force_yml`` entries such as ``train:ema_decay=0.99`` to `opt`.

    Values are read as YAML (``[0.9, 0.99]``, ``!!float 1e-4``, ``true``, ``~``), never evaluated. A key that is not in
    the file must be known there: a section of a network, a loss or a metric takes any, for its signature judges it.

    Raises:
        OptionError: not of the form ``a:b=value``, or there can be no such key.
    """
    for entry in entries:
        path, sign, text = entry.partition('=')
        keys = [k.strip() for k in path.split(':')]
        where = f'--force_yml {show_key(entry)}'
        if not sign or not all(keys):
            raise OptionError(where='--force_yml', expected='section:key=value', found=show(entry))
        try:
            value = parse_yaml(text.strip() or '~')
        except OptionError as e:
            raise OptionError(f'{show(text)} is not a plain YAML value ({e})', where=where) from None
        section, schema = opt, schema_of(opt)
        top = [field.alias or name for name, field in schema.model_fields.items()]
        for depth, key in enumerate(keys):
            place, known = tuple(keys[: depth + 1]), [*section, *([] if depth else top)]
            if key not in known and (not depth or place[:-1] in _NAMED_SECTIONS):
                hint = did_you_mean(key, map(str, known))
                if '.' in key:
                    hint = f'Colons separate sections: {":".join(keys).replace(".", ":")}={text}'
                raise _no_such(place, where, hint, depth == len(keys) - 1)
            if depth == len(keys) - 1:
                break
            if section.get(key) is None:
                section[key] = {}
            if not isinstance(section[key], dict):
                raise _no_such(place, where, '')
            section = section[key]
        is_new = keys[-1] not in section
        section[keys[-1]] = None if isinstance(value, str) and value.lower() == 'none' else value
        for unknown, hint in unknown_keys(schema, opt).items() if is_new else ():
            if unknown == tuple(map(show_key, keys[: len(unknown)])):
                raise _no_such(unknown, where, hint, len(unknown) == len(keys))


def _no_such(place: Sequence[str | int], where: str, hint: str, is_key: bool = False) -> OptionError:
    what = f'there is no {"key" if is_key else "section"} {show_key(":".join(map(str, place)))}'
    return OptionError(what, where=where, way_out=hint)
