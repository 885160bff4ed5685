"""Which checkpoints of a run stay on disk (``logger.keep_checkpoints``)."""

import re
from pathlib import Path

_NETWORK = re.compile(r'net_[a-z]+_(\d+)\.pth')


def prune(models: Path, states: Path, keep: int, best: int | None) -> list[str]:
    """Remove the checkpoints of all but the newest iterations; ``net_*_latest.pth`` and other files stay.

    A state goes before its networks: at any moment every state that is there has them.

    Args:
        models, states: folders ``models`` and ``training_states`` of the run.
        keep: how many iterations to keep.
        best: an iteration to keep besides, or None.

    Returns:
        Names of the files removed.
    """
    state_files = {int(f.stem): f for f in states.glob('*.state') if f.stem.isdecimal()}
    networks: dict[int, list[Path]] = {}
    for file in models.glob('net_*.pth'):
        if match := _NETWORK.fullmatch(file.name):
            networks.setdefault(int(match[1]), []).append(file)
    iterations = sorted(state_files.keys() | networks.keys(), reverse=True)
    removed = []
    for iteration in iterations[keep:]:
        if iteration == best:
            continue
        for file in (*([state_files[iteration]] if iteration in state_files else []), *networks.get(iteration, [])):
            file.unlink(missing_ok=True)
            removed.append(file.name)
    return removed
