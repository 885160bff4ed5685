"""The training step written in the obvious way, as the yardstick of every gain.

The same networks, losses and order of updates as `PDDModel`, and the same numbers; but each loss runs the feature
network on its own and on one batch of images at a time, the moving average goes parameter by parameter, and losses are
read in every iteration. Float32, default memory format, nothing compiled.
"""

from collections import OrderedDict

import torch

from pdd_arch.losses import functional
from pdd_arch.models import PDDModel


class PlainModel(PDDModel):
    """`PDDModel` with a step in the obvious way (EMA or static teacher, with or without D)."""

    def optimize_parameters(self, current_iter: int) -> None:
        self.iteration = current_iter
        n, settings = self.lq.shape[0], self.settings
        if self.net_d is not None:
            self.net_d.requires_grad_(False)
        self.optimizer_g.zero_grad()
        student = self.net_g(torch.cat((self.lq, self.lq_real)))
        with torch.no_grad():
            teacher = self.net_teacher(torch.cat((self.lq, self.lq_real)))
        s, t, s_teacher, t_teacher = student[:n], student[n:], teacher[:n], teacher[n:]
        s_compared = s.detach() if settings.detach_synthetic else s

        losses = OrderedDict()
        distill = self.losses.distillation
        losses['l_inter'] = distill.inter_weight * self._distance(
            distill.inter_layers,
            (t, t_teacher, s_compared, s_teacher),
            functional.inter_model_loss,
            distill.inter_distance,
        )
        losses['l_intra'] = distill.intra_weight * self._distance(
            distill.intra_layers,
            (t, t_teacher, s_compared, s_teacher),
            functional.intra_model_loss,
            distill.intra_distance,
        )
        losses['l_g_pix'] = self.losses.pixel(s, self.gt)
        perceptual = self.losses.perceptual
        own, truth = (self.feature_net(x, perceptual.layers) for x in (s, self.gt))
        losses['l_g_percep'] = perceptual.perceptual_weight * sum(
            w * perceptual.criterion(own[k], truth[k]) for k, w in perceptual.layer_weights.items()
        )
        if self.net_d is not None:
            losses['l_g_gan'] = self.losses.adversarial(self.net_d(torch.cat((s, t))), True, is_disc=False)
        sum(losses.values()).backward()
        self.optimizer_g.step()

        if self.net_d is not None:
            self.net_d.requires_grad_(True)
            self.optimizer_d.zero_grad()
            for name, image in (('real', self.gt), ('fake', s.detach())):
                loss = self.losses.adversarial(self.net_d(image), name == 'real', is_disc=True)
                loss.backward()
                losses[f'l_d_{name}'] = loss
            self.optimizer_d.step()
        self.log_dict = {name: loss.item() for name, loss in losses.items()}
        averaged = dict(self.net_g_ema.named_parameters())
        for name, parameter in self.net_g.named_parameters():
            averaged[name].data.mul_(settings.ema_decay).add_(parameter.data, alpha=1 - settings.ema_decay)

    def _distance(self, layers: dict, images: tuple, criterion, kind: str) -> torch.Tensor:
        features = [self.feature_net(image, tuple(layers)) for image in images]
        return sum(w * criterion(*(f[k] for f in features), distance=kind) for k, w in layers.items())

    def get_current_log(self) -> dict[str, float]:
        return self.log_dict
