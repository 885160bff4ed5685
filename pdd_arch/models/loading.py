"""Weights from a file into a network of a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from basicsr.utils import get_root_logger
from torch import nn

from pdd_arch.models.networks import bare
from pdd_arch.weights.checkpoints import OpenedWeights, check_finite, check_fits, state_dict_of
from pdd_arch.weights.prefixes import named_part

if TYPE_CHECKING:
    from basicsr.models.base_model import BaseModel


def load_weights(
    model: 'BaseModel',
    net: nn.Module,
    path: str,
    strict: bool,
    param_key: str | None,
    option: str,
    opened: OpenedWeights,
    key_option: str | None = None,
    other_keys: Sequence[str | None] = (),
) -> None:
    """Load `path` into a network of `model`, read as the check of a run reads it.

    Args:
        strict: whether the weights have to fit exactly; otherwise the log lists what differs, which is left out.
        param_key: see `state_dict_of`.
        option: key of the option that names the file, for errors.
        opened: what the run has read already.
        key_option: key of the option that sets `param_key`.
        other_keys: of which the first that the file has is taken where it has not `param_key`; None is the root.

    Raises:
        MissingFileError, WeightsError: see `pdd_arch.weights.checkpoints`.
    """
    net, logger = bare(net), get_root_logger()
    content = opened.read(path, option)
    if param_key is not None and named_part(content, param_key) is None:
        there = [key for key in other_keys if key is None or named_part(content, key) is not None]
        if there:
            logger.warning(f'{path} has no {param_key}; its {there[0] or "root"} is used.')
            param_key = there[0]
    state = state_dict_of(content, param_key, path, option, net, key_option)
    check_finite(state, path, option)
    logger.info(f'Loading {type(net).__name__} from {path}, with param key: [{param_key}].')
    if strict:
        check_fits(net, state, path, option)
    else:
        model._print_different_keys_loading(net, state, strict)  # takes out what has another size
    net.load_state_dict(state, strict=strict)
