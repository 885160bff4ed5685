"""Finding and reading the state that a run continues from."""

import os

from basicsr.utils import check_resume, scandir

from pdd_arch.checkpoints import read_checkpoint
from pdd_arch.errors import OptionError


def load_resume_state(opt: dict) -> dict | None:
    """Replacement for ``basicsr.train.load_resume_state``: on any device, from any folder, without running code.

    With ``--auto_resume`` the newest state of the run's own folder is taken, otherwise ``path.resume_state``.

    Returns:
        The state, or None for a fresh start; `opt` then names the networks saved with the state.

    Raises:
        MissingFileError, WeightsError: the state cannot be read.
        OptionError: ``path.ignore_resume_networks`` is not a list.
    """
    paths = opt['path']
    if opt['auto_resume'] and os.path.isdir(paths['training_states']):
        iterations = [int(s.removesuffix('.state')) for s in scandir(paths['training_states'], suffix='.state')]
        if iterations:
            paths['resume_state'] = os.path.join(paths['training_states'], f'{max(iterations)}.state')
    if not paths.get('resume_state'):
        return None
    state = read_checkpoint(paths['resume_state'], option='path.resume_state')
    ignored = paths.get('ignore_resume_networks') or []
    if not isinstance(ignored, list):
        raise OptionError(f'path.ignore_resume_networks: expected a list of network names, found {ignored!r}')
    # the static teacher never changes, so it is not saved with the run: it comes from its own weights again
    paths['ignore_resume_networks'] = sorted({*ignored, 'network_teacher'})
    teacher_key = paths.get('param_key_teacher')
    check_resume(opt, state['iter'])
    if teacher_key is not None:
        paths['param_key_teacher'] = teacher_key  # check_resume resets every param_key to 'params'
    return state
