"""How much memory of the host is available."""

import re
from contextlib import suppress
from pathlib import Path


def available_host_memory() -> int | None:
    """Bytes that can be allocated; None where the system does not say.

    What Linux calls available, or what is left of the limit of a container (control groups), if that is less.
    """
    known = [n for n in (_available_on_host(), *_left_in_control_groups()) if n is not None]
    return min(known, default=None)


def _available_on_host(file: Path = Path('/proc/meminfo')) -> int | None:
    with suppress(OSError):
        found = re.search(r'^MemAvailable:\s+(\d+) kB', file.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return None


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
