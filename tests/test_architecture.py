"""The structure of the package, from its real imports, those inside functions and for type checkers included."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import pdd_arch

PACKAGE = Path(pdd_arch.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = sorted(PACKAGE.rglob('*.py'))


@pytest.fixture(scope='module')
def graph():
    return grimp.build_graph('pdd_arch', cache_dir=None)


def test_files_import_in_one_direction(graph):
    """Raises CycleError, which names the files, where there is a circle."""
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    order = list(TopologicalSorter(imports).static_order())
    assert len(order) == len(graph.modules) > 150


def test_packages_import_in_one_direction(graph):
    def room(module):
        return '.'.join(module.split('.')[:2])

    imports: dict[str, set[str]] = {}
    for module in graph.modules - {'pdd_arch'}:
        imported = {room(other) for other in graph.find_modules_directly_imported_by(module)}
        imports.setdefault(room(module), set()).update(imported - {room(module)})
    assert 'pdd_arch' not in set().union(*imports.values()), 'a module imports the package itself'
    assert list(TopologicalSorter(imports).static_order())


def test_layers():
    """The layers stand in pyproject.toml, from the top to the bottom.

    In a process of its own: import-linter configures logging, which switches all existing loggers off.
    """
    code = 'import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(sys.argv[1], no_cache=True))'
    command = [sys.executable, '-c', code, str(ROOT / 'pyproject.toml')]
    found = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_import_is_hidden_in_a_string():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(('import_module', '__import__')):
                assert 'pdd_arch' not in ast.unparse(node), path
