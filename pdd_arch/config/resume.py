"""Finding and reading the state that a run continues from."""

import os

from basicsr.utils import check_resume, scandir

from pdd_arch.checkpoints import read_checkpoint
from pdd_arch.errors import OptionError, WeightsError


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
        stems = [s.removesuffix('.state') for s in scandir(paths['training_states'], suffix='.state')]
        iterations = [int(s) for s in stems if s.isdecimal()]
        if iterations:
            paths['resume_state'] = os.path.join(paths['training_states'], f'{max(iterations)}.state')
    if not paths.get('resume_state'):
        return None
    state = read_checkpoint(paths['resume_state'], option='path.resume_state')
    missing = [k for k in ('iter', 'epoch', 'optimizers', 'schedulers') if k not in state]
    if missing:
        raise WeightsError(
            f'path.resume_state: {paths["resume_state"]} is not a training state: it has no {missing[0]!r}. Expected a '
            'file of the folder training_states/.'
        )
    ignored = paths.get('ignore_resume_networks') or []
    if not isinstance(ignored, list):
        raise OptionError(f'path.ignore_resume_networks: expected a list of network names, found {ignored!r}')
    # the static teacher never changes, so it is not saved with the run: it comes from its own weights again
    paths['ignore_resume_networks'] = sorted({*ignored, 'network_teacher'})
    teacher_key = paths.get('param_key_teacher')
    check_resume(opt, state['iter'])
    if teacher_key is not None:
        paths['param_key_teacher'] = teacher_key  # check_resume makes 'params' of 'params_ema'
    for network in ('g', 'd'):
        if f'network_{network}' not in paths['ignore_resume_networks']:
            # the run's own checkpoints, whatever the pretrained weights looked like
            paths[f'param_key_{network}'], paths[f'strict_load_{network}'] = 'params', True
    return state
