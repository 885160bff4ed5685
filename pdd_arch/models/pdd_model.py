"""Pairwise distance distillation as a BasicSR model (paper, section 3)."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from pdd_arch.distributed import processes
from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureBank, FeatureNet
from pdd_arch.inference import forward_tiled, required_multiple
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered
from pdd_arch.models.checkpointing import CheckpointMixin
from pdd_arch.models.training_step import TrainingStepMixin
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.options.signatures import check_network
from pdd_arch.training.run_state import current_run
from pdd_arch.utils.color import match_color
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import did_you_mean


@register(MODEL_REGISTRY)
class PDDModel(TrainingStepMixin, CheckpointMixin, SRModel):
    """Adapts a specialist S (``net_g``) to one target domain under a generalist G (``net_teacher``).

    Per iteration: one forward of S, one of G without gradient, features of their outputs each computed once, one
    update of S on distillation + supervised + adversarial losses, one update of D, then the moving average of S.

    Attributes:
        net_g: the trained network S.
        net_g_ema: its exponential moving average; validated, saved as ``params_ema``, deployed. Absent when
            ``train.ema_decay`` is 0.
        net_teacher: the generalist G: ``net_g_ema`` itself (``teacher: ema``) or a second frozen network
            (``static``); None without distillation.
        net_d: discriminator, or None.
        feature_net: the frozen feature network of all losses, or None when none needs features.
        iteration: the last iteration, from 1; 0 before the first.
        in_step: whether an iteration is under way, so that networks and optimizers do not belong together.
        batch_files: image files of the current batch.
        nonfinite_in_a_row, nonfinite_total: iterations whose loss or gradient was not finite.
    """

    def __init__(self, opt: Mapping) -> None:
        # options are shared with the caller; BasicSR's models take entries out of them
        opt = deepcopy(dict(opt))
        self.settings = AdaptationSettings.from_options(opt) if opt['is_train'] else None
        for key in ('network_g', 'network_teacher', 'network_d'):
            if opt.get(key):
                check_network(key, opt[key])
        super().__init__(opt)

    # ---------------------------------------------------------------- set-up
    def init_training_settings(self) -> None:
        """Build teacher, discriminator, losses and optimizers; called by BasicSR once S exists."""
        settings, train = self.settings, self.opt['train']
        if self.opt['path'].get('pretrain_network_g') is None and not _brings_weights(self.opt['network_g']):
            get_root_logger().warning(
                'path.pretrain_network_g is not set: the specialist starts from RANDOM weights. Adaptation is meant '
                'to start from a pretrained network.'
            )
        self.net_g.train()
        self.net_g_ema = self._build_ema()
        if self.net_g_ema is None:
            del self.net_g_ema  # BasicSR asks with hasattr
        self.net_teacher = self._build_teacher()
        self.net_d = self._build_discriminator() if self.opt.get('network_d') else None

        def build(key: str, builder: Callable) -> object:
            return builder(train[key]) if train.get(key) else None

        self.cri_distill = build('distill_opt', build_distill_loss)
        self.cri_perceptual = build('perceptual_opt', build_perceptual_loss)
        self.cri_pix = build('pixel_opt', partial(build_registered, 'pixel_opt'))
        self.cri_gan = build('gan_opt', partial(build_registered, 'gan_opt'))
        for loss in (self.cri_distill, self.cri_pix, self.cri_gan):
            if loss is not None:
                loss.to(self.device)
        self.feature_net = self._build_feature_net()
        self.features = FeatureBank(self.feature_net)

        if settings.compile:
            # in place: state-dict keys stay those of the plain network
            for net in (self.net_g, self.net_teacher, self.net_d, self.feature_net):
                if net is not None:
                    mode = settings.compile if isinstance(settings.compile, str) else None
                    self.get_bare_model(net).compile(mode=mode)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == 'fp16')
        self.iteration, self.nonfinite_in_a_row, self.nonfinite_total = 0, 0, 0
        self.in_step = False
        self.batch_files: list[str] = []
        self._last_saved: int | None = None
        self._validated: int | None = None
        self._teacher_identity: str | None = None
        self._pending_log: dict[str, torch.Tensor] | None = None
        self.log_dict: dict[str, float] = OrderedDict()
        self.setup_optimizers()
        self.setup_schedulers()
        if settings.net_d_init_iters and self.net_d is None:
            get_root_logger().warning(
                f'train.net_d_init_iters: {settings.net_d_init_iters}, but there is no network_d: nothing is trained '
                'in these iterations.'
            )

    def _apply_memory_format(self, net: nn.Module) -> None:
        if self.settings.channels_last:
            net.to(memory_format=torch.channels_last)

    def _build_ema(self) -> nn.Module | None:
        """A copy of S. A resumed run continues the average it had saved; a fresh one starts from S itself."""
        if self.settings.ema_decay == 0:
            return None
        get_root_logger().info(f'Use Exponential Moving Average with decay: {self.settings.ema_decay}')
        ema = build_network(self.opt['network_g']).to(self.device)
        self._apply_memory_format(ema)
        ema.load_state_dict(self.get_bare_model(self.net_g).state_dict())
        path = self.opt['path']
        if path.get('resume_state') and 'network_g' not in (path.get('ignore_resume_networks') or ()):
            self.load_network(ema, path['pretrain_network_g'], True, 'params_ema')
        return ema.eval().requires_grad_(False)

    def _build_teacher(self) -> nn.Module | None:
        if self.settings.teacher == 'ema':
            return getattr(self, 'net_g_ema', None)
        if not self.opt.get('network_teacher'):
            return None  # nothing is distilled: the settings have checked it
        teacher = build_network(self.opt['network_teacher']).to(self.device)
        path = self.opt['path']
        if path.get('pretrain_network_teacher') is not None:
            key = path.get('param_key_teacher', 'params')
            self.load_network(teacher, path['pretrain_network_teacher'], path.get('strict_load_teacher', True), key)
        elif not _brings_weights(self.opt['network_teacher']):
            get_root_logger().warning(
                'path.pretrain_network_teacher is not set: the static teacher has RANDOM weights.'
            )
            processes.broadcast_network(teacher)
        self._apply_memory_format(teacher)
        return teacher.eval().requires_grad_(False)

    def _build_discriminator(self) -> nn.Module:
        net = self.model_to_device(build_network(self.opt['network_d']))
        self.print_network(net)
        path = self.opt['path']
        if path.get('pretrain_network_d') is not None:
            key = path.get('param_key_d', 'params')
            self.load_network(net, path['pretrain_network_d'], path.get('strict_load_d', True), key)
        return net.train()

    def _build_feature_net(self) -> FeatureNet | None:
        layers = (*getattr(self.cri_distill, 'layers', ()), *getattr(self.cri_perceptual, 'layers', ()))
        if not layers:
            return None
        net = FeatureNet(layers, **dict(self.settings.feature_net)).to(self.device)
        self._apply_memory_format(net)
        if self.settings.feature_net.weights == 'random':
            get_root_logger().warning(
                'train.feature_net.weights: random. Features of an UNTRAINED network; for real use take imagenet.'
            )
        return net

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """As BasicSR's, but distributed training also works on the CPU."""
        if self.settings is not None:
            self._apply_memory_format(net)
        if not self.opt['dist']:
            return super().model_to_device(net)
        net = net.to(self.device)
        ids = [torch.cuda.current_device()] if self.device.type == 'cuda' else None
        search = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=search)

    def get_optimizer(self, optim_type: str, params: list, lr: float, **kwargs) -> torch.optim.Optimizer:
        """Any optimizer of ``torch.optim`` by name."""
        known = [n for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type) and n != 'Optimizer']
        if optim_type not in known:
            raise OptionError(
                f'train.optim_*.type: unknown optimizer {optim_type!r}.{did_you_mean(optim_type, known)} '
                'Expected a class of torch.optim, for example Adam.'
            )
        try:
            return getattr(torch.optim, optim_type)(params, lr=lr, **kwargs)
        except (TypeError, ValueError) as e:
            raise OptionError(f'train.optim_*: {optim_type}: {e}') from e

    def setup_optimizers(self) -> None:
        """One optimizer for S and one for D; parameters frozen by their network are left alone."""

        def build(net: nn.Module, key: str) -> torch.optim.Optimizer:
            options = dict(self.opt['train'][key])
            for required in ('type', 'lr'):
                if required not in options:
                    raise OptionError(f'train.{key}.{required}: missing')
            trainable = [p for p in net.parameters() if p.requires_grad]
            return self.get_optimizer(options.pop('type'), trainable, **options)

        self.optimizer_g = build(self.net_g, 'optim_g')
        self.optimizers = [self.optimizer_g]
        if self.net_d is not None:
            self.optimizer_d = build(self.net_d, 'optim_d')
            self.optimizers.append(self.optimizer_d)

    def setup_schedulers(self) -> None:
        """As BasicSR's, which takes ``type`` out of the options; here the options stay whole."""
        train = self.opt['train']
        if not train.get('scheduler'):
            raise OptionError('train.scheduler: missing, expected for example {type: MultiStepLR, milestones: [...]}')
        whole = train['scheduler']
        train['scheduler'] = dict(whole)
        try:
            super().setup_schedulers()
        except NotImplementedError as e:
            raise OptionError(f'train.scheduler.type: {e}') from e
        finally:
            train['scheduler'] = whole

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """As BasicSR's: stepped every iteration, whether or not S is updated in it."""
        with warnings.catch_warnings():
            # torch warns when a schedule moves before the first optimizer step; with net_d_init_iters it does
            warnings.filterwarnings('ignore', message='Detected call of `lr_scheduler.step', category=UserWarning)
            super().update_learning_rate(current_iter, warmup_iter)

    # ---------------------------------------------------------------- data and log
    def feed_data(self, data: Mapping[str, torch.Tensor]) -> None:
        """Take a batch: ``lq`` (x_s), ``gt`` (y_s) and, in training, ``lq_real`` (x_t); (N, 3, h, w) in [0, 1]."""
        self.lq = data['lq'].to(self.device, non_blocking=True)
        if 'gt' in data:
            self.gt = data['gt'].to(self.device, non_blocking=True)
        else:
            self.__dict__.pop('gt', None)  # of the batch before: BasicSR asks with hasattr
        real = data.get('lq_real')
        self.lq_real = None if real is None else real.to(self.device, non_blocking=True)
        self.batch_files = [*data.get('gt_path', ()), *data.get('lq_real_path', ())]

    def get_current_log(self) -> dict[str, float]:
        """Losses of the last iteration, averaged over processes. Waits for the device: call it when printing."""
        if self._pending_log is not None:
            self.log_dict = self.reduce_loss_dict(self._pending_log) if self._pending_log else OrderedDict()
            self._pending_log = None
        return self.log_dict

    # ---------------------------------------------------------------- validation
    def test(self) -> None:
        """Upscale ``self.lq`` with the averaged network, then match its colours if ``val.color_correction``."""
        if self.opt['is_train'] and processes.world_size() == 1:
            current_run().stop_during_validation()
        lq, net = self.lq, self.get_bare_model(getattr(self, 'net_g_ema', self.net_g))
        val = self.opt.get('val') or {}
        windows = val.get('tile', 0), val.get('tile_overlap', 32)
        try:
            self.output = forward_tiled(self._upscaled, lq, required_multiple(net), *windows)
        finally:
            self.lq = lq
        if val.get('color_correction', False):
            self.output = match_color(self.output, self.lq)

    def _upscaled(self, lq: torch.Tensor) -> torch.Tensor:
        self.lq = lq
        super().test()
        return self.output

    def get_bare_model(self, net: nn.Module) -> nn.Module:
        """The network inside a parallel wrapper."""
        return net.module if isinstance(net, DataParallel | DistributedDataParallel) else net


def _brings_weights(network: Mapping) -> bool:
    """Whether a network section names its own checkpoint, as `SpandrelNet` does."""
    return network.get('path') is not None
