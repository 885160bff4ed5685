"""One iteration of pairwise distance distillation."""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pdd_arch.distributed import processes
from pdd_arch.errors import DataError, OptionError
from pdd_arch.inference import PRECISIONS
from pdd_arch.losses import DistillationLoss, FeaturePerceptualLoss, Views
from pdd_arch.losses.extra import PAIRS, ExtraLoss
from pdd_arch.models.forward_pass import Batch, Features, ForwardPass, Terms, TorchGenerators
from pdd_arch.models.frozen import FrozenConvolutions
from pdd_arch.models.losses import FeatureLoss, Losses
from pdd_arch.models.networks import Networks, bare
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.whole_batch import Statistics, WholeBatch, power_iteration
from pdd_arch.options.settings import AdaptationSettings

#: t' and s'; None where no loss compares s'
TeacherOutputs = tuple[torch.Tensor, torch.Tensor | None]


class LossInputs(NamedTuple):
    """A loss, most often over features, and the arguments that it takes in a forward pass."""

    loss: FeatureLoss
    inputs: tuple[Any, ...]


@dataclass
class TrainingStep:
    """One update of the student, one of the discriminator, then the moving average.

    A batch passes in ``train.accumulate`` equal parts, whose gradients are added before the one step. With
    ``train.batch_loss: global`` a loss that couples the images of a batch (`couples_images`) is that of the batch of
    all ranks and parts; the other losses are means over images, and means of parts average to it anyway.
    """

    networks: Networks
    losses: Losses
    optimizers: Mapping[str, torch.optim.Optimizer]  # net_g and, with a discriminator, net_d
    steps: GuardedSteps
    settings: AdaptationSettings
    device: torch.device

    def run(self, batch: Batch, iteration: int) -> Terms:
        """One iteration, counted from 1; `lq_real` is needed once distillation has begun.

        Gives what is logged: loss terms and mean scores of the discriminator, scalars of this rank without a graph.
        Raises DataError where the batch lacks target-domain images, or cannot be divided into parts.
        """
        settings, networks = self.settings, self.networks
        if settings.compile:
            torch.compiler.cudagraph_mark_step_begin()  # CUDA graphs may use the last iteration's memory again
        update_g = iteration % settings.net_d_iters == 0 and iteration > settings.net_d_init_iters
        distils = update_g and iteration > settings.distill_start and self.losses.distils
        parts = self._parts(batch)
        terms: Terms = OrderedDict()
        student_moved = True

        if update_g:
            syn = self._student_gradients(parts, distils, terms)
            if terms:
                student_moved = self.steps.take('net_g', self.optimizers['net_g'], terms, settings.grad_clip)
        elif networks.discriminator is not None:
            # only the discriminator learns: it needs the synthetic output, and no graph
            with torch.no_grad():
                syn = [self._run(networks.student, part.lq) for part in parts]
        if networks.discriminator is not None:
            of_d = self._discriminator_gradients(parts, syn)
            terms.update(of_d)
            own = {k: v for k, v in of_d.items() if k.startswith('l_')}
            self.steps.take('net_d', self.optimizers['net_d'], own, settings.grad_clip_d)
        if terms:
            self.steps.scaler.update()
        if settings.ema_decay > 0 and student_moved:
            networks.update_average(settings.ema_decay)
        return OrderedDict((name, value.detach()) for name, value in terms.items())

    def _parts(self, batch: Batch) -> list[Batch]:
        count = self.settings.accumulate
        for size in (len(images) for images in (batch.lq, batch.lq_real) if images is not None):
            if size % count:
                what = f'{count}, but a batch has {size} images'
                raise DataError(what, where='train.accumulate', way_out='It must divide the batch.')
        return [batch] if count == 1 else batch.parts(count)

    # ---------------------------------------------------------------- the student
    def _student_gradients(self, parts: list[Batch], distils: bool, terms: Terms) -> list[torch.Tensor]:
        """Gradients of S's objective; fills `terms` and returns s = S(x_s) of each part, without its graph."""
        net_d = self.networks.discriminator
        if net_d is not None:
            net_d.requires_grad_(False)
        self.optimizers['net_g'].zero_grad()
        whole: WholeBatch | None = None
        previews: list[tuple[TorchGenerators, TeacherOutputs | None]] = []
        if len(parts) > 1 and self._coupled(distils):
            # the loss of the whole batch must be known before the gradient of its first part
            whole, previews = self._preview(parts, distils)

        outputs = []
        for i, part in enumerate(parts):
            if previews:
                previews[i][0].restore()
            with self._gradients_reduced(self.networks.student, i == len(parts) - 1):
                forward = self._forward(part, distils, previews[i][1] if previews else None)
                # one after the other: the graphs of feature network and D are never in memory together
                self._feature_gradients(forward, whole, i, terms)
                if net_d is not None:
                    self._adversarial_gradients(forward, bare(net_d), i, terms)
                self._weight_gradients(forward)
            outputs.append(forward.syn.detach())
        return outputs

    def _weight_gradients(self, forward: ForwardPass) -> None:
        """Gradients of S's weights from those of its outputs."""
        gradient, output = forward.output_gradient, forward.output
        if gradient is None:
            return
        if output is None:
            assert forward.generators is not None
            after = TorchGenerators.now(self.device)
            forward.generators.restore()
            output = self._run(self.networks.student, forward.input)
            after.restore()
        output.backward(gradient)

    def _feature_gradients(self, forward: ForwardPass, whole: WholeBatch | None, index: int, terms: Terms) -> None:
        """Gradients for s and t of all terms but the adversarial one, of part `index`."""
        losses, coupled = self._feature_losses(forward), self._coupled(forward.compared is not None)
        own = self._statistics(losses, coupled)
        shared: Terms = OrderedDict()
        if own:
            statistics = (whole or WholeBatch([own])).around(own, index)
            for name in coupled:
                of_loss = {k.removeprefix(f'{name} '): v for k, v in statistics.items() if k.startswith(f'{name} ')}
                shared.update(losses[name].loss.combine(of_loss))
        found = {name: x.loss.terms(*x.inputs) for name, x in losses.items() if name not in coupled}
        pixel = {'l_g_pix': self.losses.pixel(forward.syn, forward.target)} if self.losses.pixel is not None else {}
        named = ('distill', 'perceptual')
        extra = [v for k, v in found.items() if k not in named]
        in_order = _joined(shared, found.get('distill', {}), pixel, found.get('perceptual', {}), *extra)
        self._backward(in_order, terms, shared)

    def _adversarial_gradients(self, forward: ForwardPass, net_d: nn.Module, index: int, terms: Terms) -> None:
        """Gradients for s and t of the adversarial term of part `index`: D should take them for real.

        `net_d` has no wrapper of distributed training, since D gets no gradient here.
        """
        assert self.losses.adversarial is not None
        judged = forward.syn
        if forward.real is not None and self.settings.gan_on_real:
            judged = torch.cat((forward.syn, forward.real))
        # a compiled network decides by itself what it keeps
        frozen = nullcontext() if self.settings.compile else FrozenConvolutions()
        with power_iteration(net_d, index == 0), frozen:
            score = self._run(net_d, judged)
        self._backward({'l_g_gan': self.losses.adversarial(score, True, is_disc=False)}, terms)

    def _backward(self, found: Terms, terms: Terms, shared: Mapping[str, torch.Tensor] = MappingProxyType({})) -> None:
        """Gradients of a part's terms, which are also added to `terms`; `shared`: those of the whole batch already."""
        parts = self.settings.accumulate
        for name, value in found.items():
            if value.numel() != 1:  # autograd would not name it
                extra = next(
                    (x.where for x in self.losses.extra if name.startswith(x.name)), f'train.distill_opt, {name}'
                )
                where = {'l_g_pix': 'train.pixel_opt', 'l_g_gan': 'train.gan_opt'}.get(name, extra)
                raise OptionError(f'the loss has shape {tuple(value.shape)}', where=where, expected='one number')
        if found:
            total = sum(v if k in shared or parts == 1 else v / parts for k, v in found.items())
            assert isinstance(total, torch.Tensor)
            if total.requires_grad:
                self.steps.scaler.scale(total).backward()
        _add_share(terms, found, parts)

    def _coupled(self, distils: bool) -> list[str]:
        """Losses that must see more of the batch than one rank's part, by their names in `Losses.over_features`."""
        split = self.settings.accumulate > 1 or processes.world_size() > 1
        if not split or self.settings.batch_loss == 'local':
            return []
        return [name for name, loss in self.losses.over_features(distils).items() if loss.couples_images]

    def _preview(
        self, parts: list[Batch], distils: bool
    ) -> tuple[WholeBatch, list[tuple[TorchGenerators, TeacherOutputs | None]]]:
        """Statistics of all parts; for each, the generators before its forward pass, and the teacher's outputs."""
        statistics: list[Statistics] = []
        previews = []
        for part in parts:
            generators = TorchGenerators.now(self.device)
            with torch.no_grad():
                forward = self._forward(part, distils)
                statistics.append(self._statistics(self._feature_losses(forward), self._coupled(distils)))
            compared = forward.compared
            previews.append((generators, compared and (compared.teacher_real, compared.teacher_syn)))
        return WholeBatch(statistics), previews

    # ---------------------------------------------------------------- outputs and features
    def _forward(self, part: Batch, distils: bool, teacher: TeacherOutputs | None = None) -> ForwardPass:
        """Forward pass of a part; `teacher`: the teacher's outputs, where they are known already."""
        losses, settings = self.losses, self.settings
        if distils and part.lq_real is None:
            raise DataError(
                'a batch has no lq_real (target-domain images), which distillation and train.gan_on_real need',
                where='datasets.train',
                way_out='Use type: UnpairedAdaptationDataset.',
            )
        if distils:
            self._check_pairs(part)
        # what needs no gradient comes first: what it takes on the way is free again before S's graph grows
        teacher_real, teacher_syn = (teacher or self._run_teacher(part)) if distils else (None, None)
        constants = {'teacher_real': teacher_real, 'teacher_syn': teacher_syn}
        constants |= {'target': part.gt if losses.supervises_features else None}
        features = self._extract({k: v for k, v in constants.items() if v is not None}, distils)
        # S runs once on both domains; on the synthetic one alone where no loss uses the other
        student_input = torch.cat((part.lq, cast(torch.Tensor, part.lq_real))) if distils else part.lq
        generators = TorchGenerators.now(self.device) if settings.recompute else None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not settings.recompute):
            output = self._run(self.networks.student, student_input)
        # the losses' graphs begin here, so that they can be gone before S's is used
        count = part.lq.shape[0]
        syn, *others = [
            x.requires_grad_(torch.is_grad_enabled())
            for x in output.detach().split((count, output.shape[0] - count) if distils else count)
        ]
        real = others[0] if distils else None
        compared = None
        if real is not None and teacher_real is not None:
            student_syn = syn.detach() if settings.detach_synthetic else syn
            compared = Views(real, teacher_real, student_syn if losses.uses_synthetic else None, teacher_syn)
        kept = None if settings.recompute else output
        return ForwardPass(student_input, kept, syn, real, compared, part.gt, features, generators)

    def _run_teacher(self, part: Batch) -> TeacherOutputs:
        """``(t', s')``; G sees synthetic input only if the loss compares it."""
        teacher, real = self.networks.teacher, part.lq_real
        assert teacher is not None
        assert real is not None
        with torch.no_grad():
            if not self.losses.uses_synthetic:
                return self._run(teacher, real), None
            out = self._run(teacher, torch.cat((part.lq, real)))
        n = part.lq.shape[0]
        return out[n:], out[:n]

    def _check_pairs(self, part: Batch) -> None:
        """Raises DataError where a loss compares the domains image by image, and there are not as many of each."""
        assert part.lq_real is not None
        mine, theirs = len(part.lq), len(part.lq_real)
        for where, loss in self.losses.of_views.items():
            if mine != theirs and loss.uses_synthetic and loss.pairs_domains:
                raise DataError(
                    f'{type(loss).__name__} compares the domains image by image, but a batch has {mine} synthetic and '
                    f'{theirs} target-domain images',
                    where=where,
                    way_out='Leave datasets.train.batch_size_target_per_gpu out.',
                )

    def _features(self, forward: ForwardPass) -> Features:
        """Features of all images that the losses compare: those of S's outputs now, the others are there."""
        images = {'student_syn': forward.syn}
        if not self.losses.supervises_features and self.settings.detach_synthetic:
            # nothing needs a gradient through the features of s
            images['student_syn'] = forward.syn.detach()
        if forward.real is not None:
            images['student_real'] = forward.real
        found = forward.constants | self._extract(images, forward.real is not None)
        forward.constants.clear()  # not kept for longer than these losses are
        return found

    def _extract(self, images: Mapping[str, torch.Tensor], distils: bool) -> Features:
        """Features of every image that some loss of this iteration compares, each computed once."""
        wanted: dict[str, list[str]] = {name: [] for name in images}
        for loss in self.losses.over_features(distils).values():
            for name in self.losses.compared_by(loss):
                if name in wanted:
                    wanted[name] += loss.layers
        features: Features = {name: {} for name in images}
        if any(wanted.values()):
            assert self.networks.features is not None
            with self._autocast():
                features |= self.networks.features.extract(images, wanted)
        return features

    def _views(self, loss: DistillationLoss, compared: Views[torch.Tensor], features: Features) -> tuple[Any, ...]:
        """The views that a loss compares and their features, those of s as constants with ``detach_synthetic``."""
        if not loss.uses_synthetic:
            compared = compared._replace(student_syn=None, teacher_syn=None)
        views = {name: features[name] for name, output in compared._asdict().items() if output is not None}
        if self.settings.detach_synthetic and 'student_syn' in views:
            views['student_syn'] = {k: v.detach() for k, v in views['student_syn'].items()}
        return compared, Views(**views)

    def _feature_losses(self, forward: ForwardPass) -> dict[str, LossInputs]:
        """The losses of `Losses.over_features`, each with what it compares in a forward pass."""
        features, compared = self._features(forward), forward.compared
        images = {'student_syn': forward.syn, 'target': forward.target}
        images |= {} if compared is None else {'student_real': forward.real, 'teacher_real': compared.teacher_real}
        found = {}
        for name, loss in self.losses.over_features(compared is not None).items():
            inner = loss.loss if isinstance(loss, ExtraLoss) else loss
            if isinstance(inner, DistillationLoss):
                assert compared is not None
                inputs = self._views(inner, compared, features)
            else:
                of_loss = features if isinstance(inner, FeaturePerceptualLoss) else images
                pair = PAIRS[loss.on if isinstance(loss, ExtraLoss) else 'synthetic']
                inputs = tuple(of_loss[image] for image in pair)
            found[name] = LossInputs(loss, inputs)
        return found

    def _statistics(self, losses: Mapping[str, LossInputs], coupled: list[str]) -> Terms:
        """Statistics of the coupled losses, from which the loss of the whole batch is put together."""
        own = {name: losses[name].loss.statistics(*losses[name].inputs) for name in coupled}
        return {f'{name} {k}': v for name, statistics in own.items() for k, v in statistics.items()}

    # ---------------------------------------------------------------- the discriminator
    def _discriminator_gradients(self, parts: list[Batch], syn: list[torch.Tensor]) -> Terms:
        """Gradients of D: real is y_s, fake is s from before the step of S; D never sees the outputs t as fakes."""
        net_d, adversarial = self.networks.discriminator, self.losses.adversarial
        assert net_d is not None
        assert adversarial is not None
        net_d.requires_grad_(True)
        self.optimizers['net_d'].zero_grad()
        terms: Terms = OrderedDict()
        for name, images, is_real in (('real', [part.gt for part in parts], True), ('fake', syn, False)):
            for i, image in enumerate(images):
                last = not is_real and i == len(images) - 1
                with self._gradients_reduced(net_d, last), power_iteration(net_d, i == 0):
                    score = self._run(net_d, cast(torch.Tensor, image))
                    loss = adversarial(score, is_real, is_disc=True)
                    self.steps.scaler.scale(loss / len(images) if len(images) > 1 else loss).backward()
                _add_share(terms, {f'l_d_{name}': loss, f'out_d_{name}': score.mean()}, len(images))
        return terms

    # ---------------------------------------------------------------- how networks run
    def _gradients_reduced(self, net: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Average gradients over ranks in the last of several backward passes only."""
        return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else nullcontext()

    def _autocast(self) -> AbstractContextManager[None]:
        precision = self.settings.precision
        return torch.autocast(self.device.type, dtype=PRECISIONS[precision], enabled=precision != 'fp32')

    def _run(self, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Forward pass in the chosen precision; the output is at least float32, as the losses are."""
        with self._autocast():
            out: torch.Tensor = net(x)
        return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out


def _add_share(terms: Terms, found: Terms, parts: int) -> None:
    """Add a part's terms to the means over all parts, for the log."""
    for name, value in found.items():
        share = value.detach() / parts if parts > 1 else value.detach()
        terms[name] = terms[name] + share if name in terms else share


def _joined(*found: Mapping[str, torch.Tensor]) -> Terms:
    """All terms in order; OptionError where two have one name, of which the second would be lost."""
    terms: Terms = OrderedDict()
    for part in found:
        for name, value in part.items():
            if name in terms:
                raise OptionError(
                    f'two losses are logged as {name}', where='train.extra_losses', way_out='Give one another `name`.'
                )
            terms[name] = value
    return terms
