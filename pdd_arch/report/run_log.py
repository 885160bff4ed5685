"""What BasicSR's log file tells of a run: validation metrics and losses over the iterations."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pdd_arch.utils.files import open_file

_ITERATION = re.compile(r'\[epoch:\s*\d+, iter:\s*([\d,]+), lr:')
_LOSS = re.compile(r'\b([A-Za-z_]\w*): ([-+]?(?:\d+\.\d+e[-+]?\d+|nan|inf))\b')
_START = re.compile(r'(?:Start training from|Resuming training from) epoch: \d+, iter: ([\d,]+)')
_VALIDATION = re.compile(r'INFO: Validation (.+)$')
_METRIC = re.compile(r'^\s+# (.+?): ([-+]?(?:\d+\.\d+|nan|inf))(?:\s+Best: .*)?$')
_MAX_LINE = 100_000


@dataclass
class RunLog:
    """Validation: data set -> metric -> iteration -> value. Losses: name -> iteration -> value."""

    validation: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    losses: dict[str, dict[int, float]] = field(default_factory=dict)


class _Reader:
    """Goes through the lines of one log.

    BasicSR does not write the iteration of a validation. It is the multiple of ``val_freq`` that follows the last line
    of losses, or the last validation of the same data set if that is later.
    """

    def __init__(self, log: RunLog, frequency: int | None, total: int | None) -> None:
        self.log, self.frequency, self.total = log, frequency, total
        self.iteration = 0
        self.ended = False
        self.last: dict[str, int] = {}
        self.dataset: str | None = None

    def read(self, line: str) -> None:
        metric = _METRIC.match(line) if self.dataset is not None else None
        if metric:
            values = self.log.validation.setdefault(self.dataset, {}).setdefault(metric[1], {})
            values[self.last[self.dataset]] = float(metric[2])
            return
        self.dataset = None
        if 'End of training' in line:
            self.ended = True
        elif start := _START.search(line):
            self.iteration = int(start[1].replace(',', ''))
            self.last.clear()
        elif step := _ITERATION.search(line):
            self.iteration = int(step[1].replace(',', ''))
            for name, value in _LOSS.findall(line[step.end() :].partition('time (data):')[2]):
                self.log.losses.setdefault(name, {})[self.iteration] = float(value)
        elif validation := _VALIDATION.search(line):
            self.dataset = validation[1].strip()
            self.last[self.dataset] = self._iteration_of_validation(self.last.get(self.dataset))

    def _iteration_of_validation(self, previous: int | None) -> int:
        if self.ended:
            return max(self.total or 0, self.iteration, previous or 0)
        if not self.frequency:
            return self.iteration
        following = -(-self.iteration // self.frequency) * self.frequency
        if previous is not None and following <= previous:
            following = previous + self.frequency
        return min(following, self.total) if self.total and self.iteration <= self.total else following


def read_logs(files: Iterable[Path], frequency: int | None, total: int | None) -> RunLog:
    """The logs of a run and its continuations, oldest first: where they overlap, the later one counts.

    Args:
        files: of the run.
        frequency: ``val.val_freq``.
        total: ``train.total_iter``.

    Raises:
        DataError: a file cannot be read.
    """
    log = RunLog()
    for file in files:
        reader = _Reader(log, frequency, total)
        with open_file(file) as stream:
            while line := stream.readline(_MAX_LINE):
                reader.read(line.decode('utf-8', 'replace').rstrip('\r\n'))
    return log
