"""Pairwise distance distillation as a BasicSR model."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, OptionError
from pdd_arch.features import FeatureNet
from pdd_arch.models.checkpointer import Checkpointer
from pdd_arch.models.forward_pass import Batch, Terms
from pdd_arch.models.loading import load_weights
from pdd_arch.models.losses import Losses
from pdd_arch.models.networks import Networks, bare
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.training_step import TrainingStep
from pdd_arch.models.validator import Validator
from pdd_arch.options.settings import AdaptationSettings, val_options
from pdd_arch.options.signatures import check_network, optimizer_class, scheduler_class
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.training.speed_trial import Conditions, fastest
from pdd_arch.utils.registration import register

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import

#: side in HR pixels of the image that ``auto`` is measured with, where the training data have no crop
_TRIAL_SIDE = 192


@register(MODEL_REGISTRY)
class PDDModel(SRModel):
    """Adapts a student S (``net_g``) to one target domain under a teacher G (``net_teacher``).

    BasicSR's loop calls this class, which builds what does the work: a `TrainingStep`, a `Checkpointer` and a
    `Validator`.

    Args:
        opt: completed options; they are not changed. Options that BasicSR's pipeline was started with also carry its
            `TrainingRun`.

    Attributes:
        net_g: the trained network S.
        net_g_ema: its exponential moving average; validated, saved as ``params_ema``, deployed. Absent when
            ``train.ema_decay`` is 0.
        net_teacher: the teacher G: ``net_g_ema`` itself (``teacher: ema``) or a second frozen network
            (``static``); None without distillation.
        net_d: discriminator, or None.
        feature_net: the frozen feature network of all losses, or None when none needs features.
        iteration: the last iteration, from 1; 0 before the first.
        in_step: whether an iteration is under way, so that networks and optimizers do not belong together.
        batch_files: image files of the current batch.

    Raises:
        OptionError, MissingFileError, WeightsError: naming the option that is wrong.
    """

    net_g: nn.Module

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.run: TrainingRun = getattr(opt, 'run', None) or TrainingRun()
        # options are shared with the caller; BasicSR's models take entries out of them
        own = deepcopy(dict(opt))
        for key in ('network_g', 'network_teacher', 'network_d'):
            if own.get(key):
                check_network(key, own[key])
        self.settings = AdaptationSettings.from_options(own) if own['is_train'] else None
        self.iteration, self.in_step = 0, False
        self.batch_files: list[str] = []
        self.log_dict: dict[str, float] = OrderedDict()
        self._pending_log: Terms | None = None
        super().__init__(own)
        validated: nn.Module = getattr(self, 'net_g_ema', self.net_g)
        keep_best = (own.get('logger') or {}).get('keep_best') if self.is_train else None
        sections = {s.get('name', phase): s for phase, s in own.get('datasets', {}).items() if phase != 'train'}
        self.validator = Validator(bare(validated), val_options(own), keep_best, sections)
        self.best_metric_results = self.validator.best  # BasicSR's name
        if self.settings is None:
            return
        ema = getattr(self, 'net_g_ema', None)
        networks = Networks(self.net_g, ema, self.net_teacher, self.net_d, self.feature_net)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == 'fp16')
        self.steps = GuardedSteps(scaler, self.settings.max_nonfinite)
        optimizers = dict(zip(('net_g', 'net_d'), self.optimizers, strict=False))
        self.training_step = TrainingStep(networks, self.losses, optimizers, self.steps, self.settings, self.device)
        self.checkpointer = Checkpointer(
            networks, self.optimizers, self.schedulers, self.steps, self.validator, self.run, self.opt
        )

    # ---------------------------------------------------------------- set-up
    def init_training_settings(self) -> None:
        """Build the other networks, losses, optimizers and schedules; called by BasicSR once S exists."""
        opt = self.opt
        assert self.settings is not None
        self.settings = settings = self._without_auto(self.settings)
        if not _has_weights(opt, 'g'):
            get_root_logger().warning(
                'path.pretrain_network_g is not set: the student starts from RANDOM weights. Adaptation is meant to '
                'start from a pretrained network.'
            )
        self.net_g.train()
        if settings.ema_decay > 0:
            self.net_g_ema = self._build_ema(settings.ema_decay)
        self.net_teacher: nn.Module | None = getattr(self, 'net_g_ema', None)
        if settings.teacher == 'static':
            # without one nothing is distilled: the settings have been checked
            self.net_teacher = self._build_teacher() if opt.get('network_teacher') else None
        self.net_d: nn.Module | None = self._build_discriminator() if opt.get('network_d') else None
        self.losses = Losses.from_options(opt['train'], self.device)
        self.feature_net = self._build_feature_net(settings)
        if settings.compile:
            # in place: state-dict keys stay those of the plain network
            for net in (self.net_g, self.net_teacher, self.net_d, self.feature_net):
                if net is not None:
                    bare(net).compile(mode=settings.compile if isinstance(settings.compile, str) else None)
        self.setup_optimizers()
        self.setup_schedulers()
        if settings.net_d_init_iters and self.net_d is None:
            get_root_logger().warning(
                f'train.net_d_init_iters: {settings.net_d_init_iters}, but there is no network_d: nothing is trained '
                'in these iterations.'
            )

    def _without_auto(self, settings: AdaptationSettings) -> AdaptationSettings:
        """The settings with the conditions that ``auto`` stands for: those of the resumed run, or measured now."""
        if 'auto' in (settings.precision, settings.threads):
            if self.run.conditions is None:
                side = self.opt.get('datasets', {}).get('train', {}).get('gt_size', _TRIAL_SIDE) // self.opt['scale']
                measured = fastest(bare(self.net_g), side, self.device, settings.precision, settings.threads)
                self.run.conditions = measured.recorded()
                get_root_logger().info(f'Trained in {measured}.')
                if self.run.record is not None:
                    self.run.record.add('conditions', iteration=0, **self.run.conditions)
            else:
                get_root_logger().info(f'Trained in {Conditions.of(self.run.conditions)}, as before this state.')
            asked = {'precision': settings.precision, 'threads': settings.threads}
            chosen = {name: self.run.conditions[name] for name, value in asked.items() if value == 'auto'}
            settings = settings.model_copy(update=chosen)
        if isinstance(settings.threads, int) and self.device.type == 'cpu':
            torch.set_num_threads(settings.threads)
        return settings

    def _apply_memory_format(self, net: nn.Module) -> nn.Module:
        if self.settings is not None and self.settings.channels_last:
            net.to(memory_format=torch.channels_last)
        return net

    def _build_ema(self, decay: float) -> nn.Module:
        """A copy of S. A resumed run continues the average it had saved; a fresh one starts from S itself."""
        get_root_logger().info(f'Use Exponential Moving Average with decay: {decay}')
        ema = self._apply_memory_format(build_network(self.opt['network_g']).to(self.device))
        ema.load_state_dict(bare(self.net_g).state_dict())
        path = self.opt['path']
        if path.get('resume_state') and 'network_g' not in (path.get('ignore_resume_networks') or ()):
            self.load_network(ema, path['pretrain_network_g'], True, 'params_ema')
        return ema.eval().requires_grad_(False)

    def _build_teacher(self) -> nn.Module:
        teacher = build_network(self.opt['network_teacher']).to(self.device)
        self._load_pretrained(teacher, 'teacher')
        if not _has_weights(self.opt, 'teacher'):
            get_root_logger().warning(
                'path.pretrain_network_teacher is not set: the static teacher has RANDOM weights.'
            )
            processes.broadcast_network(teacher)
        return self._apply_memory_format(teacher).eval().requires_grad_(False)

    def _build_discriminator(self) -> nn.Module:
        net = self.model_to_device(build_network(self.opt['network_d']))
        self.print_network(net)
        self._load_pretrained(net, 'd')
        return net.train()

    def _load_pretrained(self, net: nn.Module, letter: str) -> None:
        path = self.opt['path']
        if (file := path.get(f'pretrain_network_{letter}')) is not None:
            key = path.get(f'param_key_{letter}', 'params')
            self.load_network(net, file, path.get(f'strict_load_{letter}', True), key, letter)

    def _build_feature_net(self, settings: AdaptationSettings) -> FeatureNet | None:
        if not self.losses.layers:
            return None
        net = self.run.feature_net or FeatureNet(self.losses.layers, **dict(settings.feature_net))
        self._apply_memory_format(net.to(self.device))
        if settings.feature_net.weights == 'random':
            get_root_logger().warning(
                'train.feature_net.weights: random. Features of an UNTRAINED network; for real use take imagenet.'
            )
        return net

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """As BasicSR's, but distributed training also works on the CPU."""
        self._apply_memory_format(net)
        if not self.opt['dist']:
            moved: nn.Module = super().model_to_device(net)
            return moved
        net = net.to(self.device)
        ids = [torch.cuda.current_device()] if self.device.type == 'cuda' else None
        search = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=search)

    def load_network(
        self,
        net: nn.Module,
        load_path: str,
        strict: bool = True,
        param_key: str | None = 'params',
        letter: str = 'g',
    ) -> None:
        """As BasicSR's, which calls it for ``net_g``; errors name the file, what differs and the network's options.

        Raises:
            MissingFileError, WeightsError: see `pdd_arch.weights.checkpoints`.
        """
        option, key_option = f'path.pretrain_network_{letter}', f'path.param_key_{letter}'
        others = ('params',) if param_key == 'params_ema' else ()
        load_weights(self, net, load_path, strict, param_key, option, self.run.opened_weights, key_option, others)

    def setup_optimizers(self) -> None:
        """One optimizer for S and one for D; parameters frozen by their network are left alone."""

        def build(net: nn.Module, key: str) -> torch.optim.Optimizer:
            options, where = dict(self.opt['train'][key]), f'train.{key}'
            optimizer = optimizer_class(options.pop('type'), where)
            try:
                return optimizer([p for p in net.parameters() if p.requires_grad], **options)
            except (TypeError, ValueError) as e:
                raise OptionError(str(e), where=where) from e

        self.optimizer_g = build(self.net_g, 'optim_g')
        self.optimizers = [self.optimizer_g]
        if self.net_d is not None:
            self.optimizer_d = build(self.net_d, 'optim_d')
            self.optimizers.append(self.optimizer_d)

    def setup_schedulers(self) -> None:
        """As BasicSR's, which takes ``type`` out of the options; here they stay whole, and may name any class."""
        train = self.opt['train']
        whole = train['scheduler']
        if '.' in whole['type']:
            schedule = scheduler_class(whole['type'], 'train.scheduler')
            arguments = {k: deepcopy(v) for k, v in whole.items() if k != 'type'}
            self.schedulers += [schedule(optimizer, **arguments) for optimizer in self.optimizers]
            return
        train['scheduler'] = dict(whole)
        super().setup_schedulers()
        train['scheduler'] = whole

    # ---------------------------------------------------------------- training
    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: ``lq`` (x_s), ``gt`` (y_s) and, in training, ``lq_real`` (x_t); (N, 3, h, w) in [0, 1]."""
        self.lq = data['lq'].to(self.device, non_blocking=True)
        if 'gt' in data:
            self.gt = data['gt'].to(self.device, non_blocking=True)
        else:
            self.__dict__.pop('gt', None)  # of the batch before: BasicSR asks with hasattr
        real = data.get('lq_real')
        self.lq_real = None if real is None else real.to(self.device, non_blocking=True)
        self.batch_files = [*data.get('gt_path', ()), *data.get('lq_real_path', ())]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """As BasicSR's: stepped every iteration, whether or not S is updated in it."""
        with warnings.catch_warnings():
            # torch warns when a schedule moves before the first optimizer step; with net_d_init_iters it does
            warnings.filterwarnings('ignore', message='Detected call of `lr_scheduler.step', category=UserWarning)
            super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration; `current_iter` counts from 1.

        Raises:
            NumbersError: ``train.max_nonfinite`` iterations in a row had a loss or a gradient that is not finite.
            DataError: the batch lacks images that the iteration needs, or cannot be divided into parts.
        """
        self.iteration, self.in_step = current_iter, True
        # read (and averaged over ranks) only when somebody asks: reading waits for the GPU
        self._pending_log = self.training_step.run(
            Batch(self.lq, getattr(self, 'gt', None), self.lq_real), current_iter
        )
        self.in_step = False
        broken = self.steps.end_iteration(current_iter)
        if broken is not None:
            self._give_up(broken)

    def _give_up(self, broken: str) -> None:
        files = sorted({f for found in processes.gather_objects(self.batch_files) for f in found})
        row, self.steps.in_a_row = self.steps.in_a_row, 0
        self.save(self.run.position.epoch, self.iteration)  # refuses networks that are themselves broken
        raise NumbersError(
            f'{broken}, in {row} iterations in a row (train.max_nonfinite)',
            way_out=f'These steps were skipped, and the networks as they were before are saved as iteration '
            f'{self.iteration}. Images of the batch: {", ".join(files)}. Look at them; otherwise lower '
            'train.optim_g.lr, set train.grad_clip, or train with precision: fp32.',
        )

    def get_current_log(self) -> dict[str, float]:
        """Losses of the last iteration, averaged over ranks. Waits for the device: call it when printing."""
        if self._pending_log is not None:
            self.log_dict = self.reduce_loss_dict(self._pending_log) if self._pending_log else OrderedDict()
            self._pending_log = None
        return self.log_dict

    # ---------------------------------------------------------------- checkpoints
    def save(self, epoch: int, current_iter: int) -> None:
        """Write networks and state, see `Checkpointer.save`."""
        self.checkpointer.save(epoch, current_iter)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Continue from a state, see `Checkpointer.resume`."""
        self.checkpointer.resume(resume_state)
        self.iteration = resume_state['iter']

    # ---------------------------------------------------------------- validation
    def validation(
        self, dataloader: DataLoader[Any], current_iter: int, tb_logger: 'SummaryWriter | None', save_img: bool = False
    ) -> None:
        """As BasicSR's, of the weights that are deployed."""
        with self.checkpointer.weights.in_place() if self.is_train else nullcontext():
            super().validation(dataloader, current_iter, tb_logger, save_img)

    def test(self) -> None:
        """Upscale ``self.lq`` to ``self.output``, see `Validator.upscale`."""
        self.output = self.validator.upscale(self.lq)

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int) -> None:
        """As BasicSR's, with a plain number, which a state can hold; one that is undefined is never the best."""
        if float(val) == float(val):
            super()._update_best_metric_result(dataset_name, metric, float(val), current_iter)


def _has_weights(opt: Mapping[str, Any], letter: str) -> bool:
    """Whether a network starts from weights: a file of its own, or the checkpoint that a `SpandrelNet` comes from."""
    given = opt['path'].get(f'pretrain_network_{letter}'), opt[f'network_{letter}'].get('path')
    return any(file is not None for file in given)
