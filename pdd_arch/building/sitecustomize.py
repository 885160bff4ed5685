"""Lets basicsr 1.4.2 be built with Python 3.13 and newer: ``PYTHONPATH=pdd_arch/building pip install ...``, once.

Its ``setup.py`` runs a file with ``exec`` inside a function and then takes what it defined from ``locals()``. Since
Python 3.13 (PEP 667) ``exec`` writes to a copy there, and the build ends with ``KeyError: '__version__'``. Python
imports a module of this name when it starts, so in the processes of that one command an ``exec`` without namespaces
gets those of its caller, as it did before. Nothing is installed, and older versions are left alone.
"""

import builtins
import functools
import os
import sys

# pip builds in a folder of its own, from where a relative path leads nowhere
os.environ['PYTHONPATH'] = os.pathsep.join(map(os.path.abspath, os.environ['PYTHONPATH'].split(os.pathsep)))

if sys.version_info >= (3, 13):
    _exec = builtins.exec

    @functools.wraps(_exec)
    def _exec_in_caller(code, /, globals=None, locals=None, **closure):
        caller = sys._getframe(1)
        if globals is None:
            globals = caller.f_globals
            locals = caller.f_locals if locals is None else locals
        _exec(code, globals, locals, **closure)

    builtins.exec = _exec_in_caller
