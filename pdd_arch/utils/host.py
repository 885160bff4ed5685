"""The host: its processor, and how much of its memory is available."""

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

import psutil


def processor_name() -> str:
    """Name of the processor, such as ``AMD EPYC``."""
    with suppress(OSError), Path('/proc/cpuinfo').open() as lines:
        for line in lines:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor()


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def available_host_memory() -> int:
    """Bytes that can be allocated: by the host, or what is left of the limit of a container, if that is less."""
    return min(psutil.virtual_memory().available, *_left_in_control_groups())


def _left_in_control_groups(
    root: Path = Path('/sys/fs/cgroup'), membership: Path = Path('/proc/self/cgroup')
) -> list[int]:
    """What is left of the limits of this process' control groups (version 2, and 1 inside a container)."""
    paths = {root, root / 'memory'}
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, name = line.split(':', 2)
            if controllers in ('', 'memory'):
                group = root / controllers / name.lstrip('/')
                paths |= {p for p in (group, *group.parents) if root in (p, *p.parents)}
    left = []
    for folder in paths:
        for limit, used, cache in (
            ('memory.max', 'memory.current', 'inactive_file'),
            ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
        ):
            with suppress(OSError, ValueError):  # there is none, or it is 'max'
                total, taken = (int((folder / name).read_text()) for name in (limit, used))
                # files that the system has in memory only because there is room
                found = re.search(rf'^{cache} (\d+)$', (folder / 'memory.stat').read_text(), re.MULTILINE)
                left.append(max(total - taken + int(found[1] if found else 0), 0))
    return left
