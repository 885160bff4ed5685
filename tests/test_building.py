"""The module that lets BasicSR be built with Python 3.13, as the README has it put on PYTHONPATH."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: what setup.py of basicsr does
BUILD = """
import sitecustomize

def get_version():
    exec('__version__ = "1.4.2"')
    return locals()['__version__']

print(get_version())
"""
#: what pip does: it builds in another folder
PIP = 'import subprocess, sys; subprocess.run([sys.executable, "-c", sys.argv[1]], cwd=sys.argv[2], check=True)'


def test_build_in_another_folder(tmp_path):
    paths = set(re.findall(r'PYTHONPATH=(\S+) pip install', (ROOT / 'README.md').read_text(encoding='utf-8')))
    assert paths == {'pdd_arch/building'}
    command = [sys.executable, '-c', PIP, BUILD, str(tmp_path)]
    environment = os.environ | {'PYTHONPATH': paths.pop()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('1.4.2\n', '')
