"""Writes the table of all registered classes: ``python experiments/registries.py``."""

import sys
from pathlib import Path

import pdd_arch  # noqa: F401  (makes BasicSR importable)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests'))

from registered_classes import table  # noqa: E402

TABLE = ROOT / 'experiments' / 'results' / 'registered_classes.md'

if __name__ == '__main__':
    TABLE.write_text(table(), encoding='utf-8')
    print(TABLE.relative_to(ROOT))
