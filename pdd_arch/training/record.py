"""The record of a training run as data: one JSON object a line, beside BasicSR's text log.

``experiments/NAME/record.jsonl`` grows as the run goes on and over its continuations. Each line has ``event`` and
``time`` (seconds since 1970) and, by event:

========== ===========================================================================================================
start      ``iteration`` that the run continues from (0: a fresh start), ``epoch``, ``total_iterations``
step       ``iteration``, ``epoch``, ``learning_rates``, ``losses`` (by name), ``step_seconds``, ``data_seconds``
validation ``iteration``, ``dataset``, ``metrics`` (by name)
checkpoint ``iteration``, ``file``: name below ``models/``
end        ``iteration``, ``status`` (``finished``, ``stopped`` or ``failed``); of a failure also ``error``: its fields
========== ===========================================================================================================
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pdd_arch.errors import PDDError
from pdd_arch.utils.files import open_file

RECORD = 'record.jsonl'


class TrainingRecord:
    """Appends events to the record of a run; a line that a killed process left incomplete is closed first.

    A record that cannot be written costs one line on standard error, not the run. The folder exists.
    """

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder, RECORD)
        self._failed = False

    def add(self, event: str, **values: object) -> None:
        """Append one event, whose values JSON can hold (or are numbers of numpy or torch)."""
        line = json.dumps({'event': event, 'time': round(time.time(), 3)} | values, default=float)
        try:
            with self._path.open('a+b') as stream:
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b'\n':
                        stream.write(b'\n')
                stream.write(line.encode() + b'\n')
        except OSError as e:
            if not self._failed:
                sys.stderr.write(f'warning: the record {self._path} cannot be written: {e.strerror or e}\n')
            self._failed = True

    def end(self, iteration: int, status: str, error: BaseException | None = None) -> None:
        """Append the end of the run, after its last complete iteration, and with ``failed`` the error that ended it."""
        values: dict[str, object] = {'iteration': iteration, 'status': status}
        if error is not None:
            names = ('what', 'where', 'expected', 'found', 'way_out') if isinstance(error, PDDError) else ()
            fields = {name: getattr(error, name) for name in names} or {'what': str(error)}
            values['error'] = {'kind': type(error).__name__, **fields}
        self.add('end', **values)


@dataclass
class RunHistory:
    """What the record of a run tells."""

    #: name -> iteration -> value
    losses: dict[str, dict[int, float]] = field(default_factory=dict)
    #: dataset -> metric -> iteration -> value
    validation: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    #: the last one that is recorded; 0: none
    iteration: int = 0
    #: the last event, if it is the end of the run; with ``status`` and perhaps ``error``
    end: Mapping[str, object] | None = None


def read_record(folder: str | Path) -> RunHistory:
    """The history of a run (in ``experiments/NAME``) and its continuations; where they overlap, the later one counts.

    Without a record it is empty. Raises DataError where the record cannot be read.
    """
    history = RunHistory()
    for event in _events(Path(folder, RECORD)):
        kind, iteration = event.get('event'), event.get('iteration')
        if not isinstance(iteration, int):
            continue
        history.end = event if kind == 'end' else None
        history.iteration = iteration
        if kind == 'step':
            for name, value in _numbers(event.get('losses')):
                history.losses.setdefault(name, {})[iteration] = value
        elif kind == 'validation':
            metrics = history.validation.setdefault(str(event.get('dataset')), {})
            for name, value in _numbers(event.get('metrics')):
                metrics.setdefault(name, {})[iteration] = value
    return history


def _events(path: Path) -> Iterator[Mapping[str, object]]:
    """The events that can be read; a line that was being written when its process was killed is passed over."""
    if not path.is_file():
        return
    with open_file(path) as stream:
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _numbers(values: object) -> Iterator[tuple[str, float]]:
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, int | float) or value is None:
            yield name, math.nan if value is None else float(value)
