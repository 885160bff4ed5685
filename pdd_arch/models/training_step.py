"""One iteration of pairwise distance distillation (paper, section 3)."""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import NamedTuple

import torch
from basicsr.utils import get_root_logger
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pdd_arch.distributed import processes
from pdd_arch.errors import DataError, NumbersError
from pdd_arch.losses import Views
from pdd_arch.models.frozen import FrozenConvolutions
from pdd_arch.models.whole_batch import Statistics, WholeBatch, power_iteration
from pdd_arch.training.run_state import current_run

Terms = dict[str, torch.Tensor]
#: by image and layer
Features = dict[str, dict[str, torch.Tensor]]


class Part(NamedTuple):
    """A batch, or an equal part of one: x_s, y_s and x_t."""

    lq: torch.Tensor
    gt: torch.Tensor | None
    lq_real: torch.Tensor | None


class Look(NamedTuple):
    """What the networks make of a part of a batch."""

    #: what S was shown
    shown: torch.Tensor
    #: its output, with its graph; None with ``train.recompute``
    out: torch.Tensor | None
    #: s = S(x_s), the beginning of a graph of its own
    syn: torch.Tensor
    #: t = S(x_t), likewise, or None when nothing looks at it
    real: torch.Tensor | None
    #: s, t, s', t' as distillation compares them, or None
    outputs: Views | None
    #: y_s
    target: torch.Tensor | None
    #: features that need no gradient, of G's outputs and y_s
    constants: Features
    #: random generators before S ran
    generators: tuple

    @property
    def gradient(self) -> torch.Tensor | None:
        """What the losses have left in s and t, for `out`; None when no loss looks at them."""
        images = [x for x in (self.syn, self.real) if x is not None]
        if all(x.grad is None for x in images):
            return None
        return torch.cat([torch.zeros_like(x) if x.grad is None else x.grad for x in images])


class TrainingStepMixin:
    """``optimize_parameters`` of a model with the networks and losses that `PDDModel` builds.

    A batch goes through in ``train.accumulate`` equal parts, whose gradients are added before the one step. With
    ``train.batch_loss: global`` a loss that couples the images of a batch (`couples_images`) is that of the batch of
    all processes and parts; the others are means over images, and means of parts average to it anyway.
    """

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration; `current_iter` counts from 1.

        Raises:
            NumbersError: ``train.max_nonfinite`` iterations in a row had a loss or a gradient that is not finite.
        """
        settings = self.settings
        self.iteration, self.in_step = current_iter, True
        if settings.compile:
            torch.compiler.cudagraph_mark_step_begin()  # CUDA graphs may use the last iteration's memory again
        update_g = current_iter % settings.net_d_iters == 0 and current_iter > settings.net_d_init_iters
        adapts = update_g and current_iter > settings.distill_start
        parts = self._parts()
        losses: Terms = OrderedDict()
        broken: list[str] = []

        if update_g:
            syn = self._student_gradients(parts, adapts, losses)
            broken += self._take_step('net_g', losses)
        elif self.net_d is not None:
            # only the discriminator learns: it needs the synthetic output, and no graph
            with torch.no_grad():
                syn = [self._run(self.net_g, part.lq) for part in parts]
        averages = settings.ema_decay > 0 and not broken
        if self.net_d is not None:
            d_losses = self._discriminator_gradients(parts, syn)
            losses.update(d_losses)
            broken += self._take_step('net_d', {k: v for k, v in d_losses.items() if k.startswith('l_')})
        if losses:
            self.scaler.update()

        # read (and reduced over processes) only when somebody asks: reading waits for the GPU
        self._pending_log = {name: loss.detach() for name, loss in losses.items()}
        if averages:
            self.model_ema(settings.ema_decay)
        self.in_step = False
        self._count_broken(broken)

    def _parts(self) -> list[Part]:
        count = self.settings.accumulate
        if count == 1:
            return [Part(self.lq, getattr(self, 'gt', None), self.lq_real)]
        if self.lq.shape[0] % count:
            raise DataError(
                f'train.accumulate: {count}, but a batch has {self.lq.shape[0]} images. It must divide the batch.'
            )
        tensors = (self.lq, getattr(self, 'gt', None), self.lq_real)
        chunks = [[None] * count if t is None else t.chunk(count) for t in tensors]
        return [Part(*part) for part in zip(*chunks, strict=True)]

    # ---------------------------------------------------------------- the student
    def _student_gradients(self, parts: list[Part], adapts: bool, losses: Terms) -> list[torch.Tensor]:
        """Gradients of S's objective; fills `losses` and returns s = S(x_s) of each part, without its graph."""
        if self.net_d is not None:
            self.net_d.requires_grad_(False)
        self.optimizer_g.zero_grad()
        coupled = self._coupled_losses(adapts)
        whole, teachers, generators = None, [None] * len(parts), []
        if coupled and len(parts) > 1:
            # the loss of the whole batch must be known before the gradient of its first part
            whole, teachers, generators = self._preview(parts, adapts, coupled)

        outputs = []
        for i, part in enumerate(parts):
            if generators:
                _continue_generators(generators[i])
            with self._gradients_reduced(self.net_g, i == len(parts) - 1):
                look = self._look(part, adapts, teachers[i])
                # one after the other: the graphs of feature network and D are never in memory together
                self._feature_gradients(look, coupled, whole, i, losses)
                if self.net_d is not None:
                    self._adversarial_gradients(look, i, losses)
                self._specialist_gradients(look)
            outputs.append(look.syn.detach())
        return outputs

    def _specialist_gradients(self, look: Look) -> None:
        """Gradients of S's weights from those of its outputs."""
        gradient = look.gradient
        if gradient is None:
            return
        out = look.out
        if out is None:
            after = _generators(self.device)
            _continue_generators(look.generators)
            out = self._run(self.net_g, look.shown)
            _continue_generators(after)
        out.backward(gradient)

    def _feature_gradients(
        self, look: Look, coupled: list[str], whole: WholeBatch | None, index: int, losses: Terms
    ) -> None:
        """Gradients for s and t of all terms but the adversarial one, of part `index`."""
        features = self._student_features(look)
        shared: Terms = {}
        if coupled:
            own = self._statistics(look, features, coupled)
            shared = self._combine((whole or WholeBatch([own])).around(own, index), coupled)
        terms: Terms = OrderedDict(shared)
        if look.outputs is not None and 'distill' not in coupled:
            terms.update(self.cri_distill.terms(look.outputs, self._distill_views(look, features)))
        if self.cri_pix is not None:
            terms['l_g_pix'] = self.cri_pix(look.syn, look.target)
        if self.cri_perceptual is not None and 'perceptual' not in coupled:
            terms.update(self.cri_perceptual.terms(features['student_syn'], features['target']))
        self._backward(terms, losses, shared)

    def _adversarial_gradients(self, look: Look, index: int, losses: Terms) -> None:
        """Gradients for s and t of the adversarial term of part `index`: D is asked to take them for real."""
        shown = look.syn
        if look.real is not None and self.settings.gan_on_real:
            shown = torch.cat((look.syn, look.real))
        net_d = self.get_bare_model(self.net_d)  # not the wrapper of distributed training: D gets no gradient here
        # a compiled network decides by itself what it keeps
        judging = nullcontext() if self.settings.compile else FrozenConvolutions()
        with power_iteration(net_d, index == 0), judging:
            score = self._run(net_d, shown)
        self._backward({'l_g_gan': self.cri_gan(score, True, is_disc=False)}, losses)

    def _backward(self, terms: Terms, losses: Terms, shared: Mapping = MappingProxyType({})) -> None:
        """Gradients of a part's terms, which are also added to `losses`; `shared`: those of the whole batch already."""
        parts = self.settings.accumulate
        if terms:
            total = sum(v if k in shared or parts == 1 else v / parts for k, v in terms.items())
            if total.requires_grad:
                self.scaler.scale(total).backward()
        _add_share(losses, terms, parts)

    def _coupled_losses(self, adapts: bool) -> list[str]:
        """Losses that must see more of the batch than one process's part: of ``distill``, ``perceptual``."""
        split = self.settings.accumulate > 1 or processes.world_size() > 1
        if not split or self.settings.batch_loss == 'local':
            return []
        active = {'distill': self.cri_distill if adapts else None, 'perceptual': self.cri_perceptual}
        return [name for name, loss in active.items() if loss is not None and loss.couples_images]

    def _preview(self, parts: list[Part], adapts: bool, coupled: list[str]) -> tuple[WholeBatch, list, list]:
        """Statistics of all parts, G's outputs, and the random generators with which each part was looked at."""
        statistics, teachers, generators = [], [], []
        for part in parts:
            generators.append(_generators(self.device))
            with torch.no_grad():
                look = self._look(part, adapts)
                statistics.append(self._statistics(look, self._student_features(look), coupled))
            teachers.append(look.outputs and (look.outputs.teacher_real, look.outputs.teacher_syn))
        return WholeBatch(statistics), teachers, generators

    def _look(self, part: Part, adapts: bool, teacher: tuple | None = None) -> Look:
        """Outputs on a part; `teacher`: G's, where they are known already."""
        n, distils = part.lq.shape[0], adapts and self.cri_distill is not None
        if distils and part.lq_real is None:
            raise DataError(
                'datasets.train: a batch has no lq_real (target-domain images), which distillation and '
                'train.gan_on_real need. Use type: UnpairedAdaptationDataset.'
            )
        # what needs no gradient comes first: what it takes on the way is free again before S's graph grows
        teacher_real, teacher_syn = (teacher or self._run_teacher(part)) if distils else (None, None)
        constants = {'teacher_real': teacher_real, 'teacher_syn': teacher_syn}
        constants |= {'target': part.gt if self.cri_perceptual is not None else None}
        features = self._extract({k: v for k, v in constants.items() if v is not None}, distils)
        # S runs once on both domains; on the synthetic one alone where nothing looks at the other
        shown = torch.cat((part.lq, part.lq_real)) if distils else part.lq
        generators = _generators(self.device) if self.settings.recompute else ()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.settings.recompute):
            out = self._run(self.net_g, shown)
        # the losses' graphs begin here, so that they can be gone before S's is used
        images = [x.requires_grad_(torch.is_grad_enabled()) for x in out.detach().split(n)]
        syn, real, outputs = images[0], images[1] if distils else None, None
        if distils:
            compared = syn.detach() if self.settings.detach_synthetic else syn
            outputs = Views(real, teacher_real, compared if self.cri_distill.uses_synthetic else None, teacher_syn)
        return Look(shown, None if self.settings.recompute else out, syn, real, outputs, part.gt, features, generators)

    def _run_teacher(self, part: Part) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``(t', s')``; G sees synthetic input only if the loss compares it."""
        with torch.no_grad():
            if not self.cri_distill.uses_synthetic:
                return self._run(self.net_teacher, part.lq_real), None
            out = self._run(self.net_teacher, torch.cat((part.lq, part.lq_real)))
        n = part.lq.shape[0]
        return out[n:], out[:n]

    def _student_features(self, look: Look) -> Features:
        """Features of all images that the losses look at: those of S's outputs now, the others are there."""
        images = {'student_syn': look.syn}
        if self.cri_perceptual is None and self.settings.detach_synthetic:
            # nothing needs a gradient through the features of s
            images['student_syn'] = look.syn.detach()
        if look.outputs is not None:
            images['student_real'] = look.real
        found = look.constants | self._extract(images, look.outputs is not None)
        look.constants.clear()  # not kept for longer than these losses are
        return found

    def _extract(self, images: Mapping[str, torch.Tensor], distils: bool) -> Features:
        """Features of every image that some loss of this iteration looks at, each once."""
        wanted: dict[str, list[str]] = {name: [] for name in images}
        for name in images:
            if distils and name != 'target' and (name.endswith('_real') or self.cri_distill.uses_synthetic):
                wanted[name] += self.cri_distill.layers
            if self.cri_perceptual is not None and name in ('student_syn', 'target'):
                wanted[name] += self.cri_perceptual.layers
        if not any(wanted.values()):
            return {name: {} for name in images}
        with self._autocast():
            return {name: {} for name in images} | self.features.extract(images, wanted)

    def _distill_views(self, look: Look, features: Features) -> Views[dict[str, torch.Tensor]]:
        """Features of the four views, those of s as constants with ``train.detach_synthetic``."""
        views = {k: None if v is None else features[k] for k, v in look.outputs._asdict().items()}
        if self.settings.detach_synthetic and views['student_syn'] is not None:
            views['student_syn'] = {k: v.detach() for k, v in views['student_syn'].items()}
        return Views(**views)

    def _statistics(self, look: Look, features: Features, coupled: list[str]) -> Statistics:
        found = {}
        if 'distill' in coupled:
            own = self.cri_distill.statistics(look.outputs, self._distill_views(look, features))
            found.update((f'distill {k}', v) for k, v in own.items())
        if 'perceptual' in coupled:
            own = self.cri_perceptual.statistics(features['student_syn'], features['target'])
            found.update((f'perceptual {k}', v) for k, v in own.items())
        return found

    def _combine(self, statistics: Statistics, coupled: list[str]) -> Terms:
        """Terms of the whole batch."""
        terms = {}
        for name, loss in (('distill', self.cri_distill), ('perceptual', self.cri_perceptual)):
            if name in coupled:
                own = {k.removeprefix(f'{name} '): v for k, v in statistics.items() if k.startswith(f'{name} ')}
                terms.update(loss.combine(own))
        return terms

    # ---------------------------------------------------------------- the discriminator
    def _discriminator_gradients(self, parts: list[Part], syn: list[torch.Tensor]) -> Terms:
        """Gradients of D: real is y_s, fake is s from before the step of S; real outputs t are never shown."""
        self.net_d.requires_grad_(True)
        self.optimizer_d.zero_grad()
        losses: Terms = OrderedDict()
        for name, images, is_real in (('real', [part.gt for part in parts], True), ('fake', syn, False)):
            for i, image in enumerate(images):
                last = not is_real and i == len(images) - 1
                with self._gradients_reduced(self.net_d, last), power_iteration(self.net_d, i == 0):
                    score = self._run(self.net_d, image)
                    loss = self.cri_gan(score, is_real, is_disc=True)
                    self.scaler.scale(loss / len(images) if len(images) > 1 else loss).backward()
                _add_share(losses, {f'l_d_{name}': loss, f'out_d_{name}': score.mean()}, len(images))
        return losses

    # ---------------------------------------------------------------- steps and numbers
    def _gradients_reduced(self, net: nn.Module, last: bool) -> AbstractContextManager:
        """Average gradients over processes in the last of several backward passes only."""
        return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else nullcontext()

    def _take_step(self, label: str, losses: Terms) -> list[str]:
        """One step of a network's optimizer, unless a loss or the gradient is not finite in some process.

        Returns:
            What is not finite; empty when the step was taken.
        """
        if not losses:
            return []
        optimizer, clip = {
            'net_g': (self.optimizer_g, self.settings.grad_clip),
            'net_d': (getattr(self, 'optimizer_d', None), self.settings.grad_clip_d),
        }[label]
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))
        looked_at = {**losses, f'gradient of {label}': norm}
        finite = torch.stack([torch.isfinite(value).all() for value in looked_at.values()])
        verdict = processes.everywhere(finite).tolist()
        broken = [name for name, good in zip(looked_at, verdict, strict=True) if not good]
        if len(broken) == 1 and broken[0].startswith('gradient') and self.scaler.is_enabled():
            # an overflow in fp16 is how the scaler finds its scale: it skips the step and lowers the scale
            broken = broken if self.scaler.get_scale() < 1 else []
        if not broken:
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            self.scaler.step(optimizer)
        return broken

    def _count_broken(self, broken: list[str]) -> None:
        if not broken:
            self.nonfinite_in_a_row = 0
            return
        self.nonfinite_in_a_row += 1
        self.nonfinite_total += 1
        row, limit = self.nonfinite_in_a_row, self.settings.max_nonfinite
        what = f'iteration {self.iteration}: not finite: {", ".join(broken)}'
        get_root_logger().warning(
            f'Skipped a step: {what} ({row} in a row, {self.nonfinite_total} in all; the run stops at {limit}).'
        )
        if row >= limit:
            self._give_up(what)

    def _give_up(self, what: str) -> None:
        files = sorted({f for found in processes.gather_objects(self.batch_files) for f in found})
        row, self.nonfinite_in_a_row = self.nonfinite_in_a_row, 0
        self.save(current_run().position.epoch, self.iteration)  # refuses networks that are themselves broken
        raise NumbersError(
            f'{what}, for the {row}. time in a row (train.max_nonfinite). These steps were skipped, and the networks '
            f'as they were before are saved as iteration {self.iteration}. Images of the batch: {", ".join(files)}. '
            'Look at them; otherwise lower train.optim_g.lr, set train.grad_clip, or train with precision: fp32.'
        )

    def _autocast(self) -> AbstractContextManager:
        kind = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}[self.settings.precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=self.settings.precision != 'fp32')

    def _run(self, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Forward in the chosen precision; the output is at least float32, as the losses are."""
        with self._autocast():
            out = net(x)
        return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out

    def model_ema(self, decay: float = 0.999) -> None:
        """net_g_ema = decay * net_g_ema + (1 - decay) * net_g, for all parameters at once; buffers are copied."""
        student, ema = self.get_bare_model(self.net_g), self.net_g_ema
        with torch.no_grad():
            averaged = list(ema.parameters())
            torch._foreach_mul_(averaged, decay)
            torch._foreach_add_(averaged, list(student.parameters()), alpha=1 - decay)
            for mine, theirs in zip(ema.buffers(), student.buffers(), strict=True):
                mine.copy_(theirs)


def _add_share(losses: Terms, terms: Terms, parts: int) -> None:
    """Add a part's terms to the means over all parts, for the log."""
    for name, value in terms.items():
        share = value.detach() / parts if parts > 1 else value.detach()
        losses[name] = losses[name] + share if name in losses else share


def _generators(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == 'cuda' else None


def _continue_generators(states: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Let dropout and the like draw what they drew when the part was first looked at."""
    torch.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state(states[1])
