"""How a model's networks and training state are written and read back."""

from collections.abc import Mapping
from os import path as osp

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from pdd_arch.checkpoints import check_fits, read_checkpoint, state_dict_of, write_checkpoint


class CheckpointMixin:
    """Saving and loading for a BasicSR model with ``net_g``, ``net_g_ema`` (optional), ``net_d`` and ``scaler``.

    Replaces BasicSR's methods of the same names: writes are atomic and a failed one stops the run; reads never run
    code, and an error names the option, the file and what differs.
    """

    def save(self, epoch: int, current_iter: int) -> None:
        """Write ``models/net_g_<iter>.pth`` (``params``, ``params_ema``), ``net_d_<iter>.pth`` and the state."""
        if hasattr(self, 'net_g_ema'):
            self.save_network([self.net_g, self.net_g_ema], 'net_g', current_iter, ['params', 'params_ema'])
        else:
            self.save_network(self.net_g, 'net_g', current_iter)
        if self.net_d is not None:
            self.save_network(self.net_d, 'net_d', current_iter)
        self.save_training_state(epoch, current_iter)

    @master_only
    def save_network(self, net, net_label: str, current_iter: int, param_key: str | list[str] = 'params') -> None:
        """As BasicSR's, but atomic, and a failed write stops the run instead of being ignored."""
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        content = {
            key: {k: v.cpu() for k, v in self.get_bare_model(part).state_dict().items()}
            for key, part in zip(keys, nets, strict=True)
        }
        iteration = 'latest' if current_iter == -1 else current_iter
        write_checkpoint(content, osp.join(self.opt['path']['models'], f'{net_label}_{iteration}.pth'))

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """As BasicSR's, but atomic; -1 (the end of training) writes none."""
        if current_iter == -1:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [o.state_dict() for o in self.optimizers],
            'schedulers': [s.state_dict() for s in self.schedulers],
            'scaler': self.scaler.state_dict(),
        }
        write_checkpoint(state, osp.join(self.opt['path']['training_states'], f'{current_iter}.state'))

    def resume_training(self, resume_state: Mapping) -> None:
        """Continue optimizers, schedulers and the loss scale."""
        super().resume_training(resume_state)
        if resume_state.get('scaler'):
            self.scaler.load_state_dict(resume_state['scaler'])

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'):
        """As BasicSR's, with errors that name the option, the file and what differs.

        Raises:
            MissingFileError, WeightsError: see `pdd_arch.checkpoints`.
        """
        option = next((f'path.{k}' for k, v in self.opt['path'].items() if v == load_path), 'weights')
        net = self.get_bare_model(net)
        content = read_checkpoint(load_path, option)
        state = state_dict_of(content, param_key, load_path, option)
        logger = get_root_logger()
        if param_key is not None and param_key not in content:
            logger.warning(f'{load_path} has no {param_key}; its params are used.')
        logger.info(f'Loading {type(net).__name__} from {load_path}, with param key: [{param_key}].')
        if strict:
            check_fits(net, state, load_path, option)
        else:
            self._print_different_keys_loading(net, state, strict)
        net.load_state_dict(state, strict=strict)
