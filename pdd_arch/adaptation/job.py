"""An adaptation from beginning to end."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pdd_arch.adaptation.arguments import HR_HELP, Network, check_folders, check_numbers, find_features, find_generalist
from pdd_arch.adaptation.child_training import candidates, train
from pdd_arch.adaptation.judge import Judge, write_signals
from pdd_arch.adaptation.outcome import (
    Adaptation,
    recorded,
    result_of_record,
    statement,
    write_model,
    write_photographs_page,
    write_record,
)
from pdd_arch.adaptation.photographs import PhotographSet, identity, inspect_photographs
from pdd_arch.adaptation.preset import PRESETS, Machine, Preset, run_options, write_options
from pdd_arch.adaptation.preview import write_preview
from pdd_arch.adaptation.workspace import Workspace, split
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.images.decoding import read_image
from pdd_arch.inference import TiledUpscaler
from pdd_arch.inference.methods import tensor_upscaler, trained_network
from pdd_arch.options.yaml_file import load_options
from pdd_arch.selection import Choice, Signals, choose, score
from pdd_arch.utils.hashing import sha256_of
from pdd_arch.utils.wording import did_you_mean, one_of, shown
from pdd_arch.version import __version__

__all__ = ['RATIOS', 'Adaptation', 'adapt']

#: of the inter-model to the intra-model distance, that --tune compares
RATIOS = (0.1, 1.0, 4.0)
#: what the runs of --tune have of the iterations of the final one
_TUNE_SHARE = 2
_MAIN_RUN = 'adapt'
#: settings that say where files are, or that the record has elsewhere
_NOT_RECORDED = ('photographs', 'hr', 'generalist', 'weights', 'images')


def adapt(
    photographs: str | Path,
    hr: str | Path | None,
    out: str | Path,
    *,
    generalist: str | None = None,
    preset: str = 'fast',
    features: str | None = None,
    feature_weights: str = 'imagenet',
    iterations: int | None = None,
    batch: int | None = None,
    inter_weight: float | None = None,
    tune: bool = False,
    device: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Adaptation:
    """Adapt a blind super-resolution network to the camera that took some photographs.

    Called again with the same arguments it continues, or returns what is finished.

    Args:
        photographs: folder of LR photographs of one camera.
        hr: folder of HR photographs of anything.
        out: folder for everything that is written.
        generalist: network to adapt: a weight file, or a name of `pdd_arch.weights.zoo`; None: the preset's.
        preset: ``fast`` or ``paper``.
        features: feature network: ``squeezenet1_0`` or ``vgg19``; None: the preset's.
        feature_weights: its weights: ``imagenet`` (downloaded when first needed) or a file.
        iterations: of training; None: the preset's.
        batch: images of each kind in a step; None: what suits the machine.
        inter_weight: of the inter-model distance, the intra-model distance having 1; None: 1, or what `tune` finds.
        tune: try several of these ratios first.
        device: ``cpu``, ``cuda``, or None: a GPU where there is one.
        overwrite: start anew where `out` holds an adaptation with other settings.
        say: called with sentences for people as things are found and done.

    Raises:
        OptionError, MissingFileError, DataError, WeightsError: something given is wrong.
        Stopped: a signal came; the same call continues.
        TrainingFailed: training ended before its end.
    """
    if preset not in PRESETS:
        raise OptionError(f'--preset: expected {one_of(PRESETS)}, found {preset!r}.{did_you_mean(preset, PRESETS)}')
    if hr is None:
        raise MissingFileError(f'--hr: is missing. {HR_HELP}')
    photographs, hr, out = (Path(path).expanduser() for path in (photographs, hr, out))
    check_folders(photographs, hr, out)
    check_numbers(iterations, batch, inter_weight)
    chosen, machine, workspace = PRESETS[preset], Machine.here(device), Workspace(out)
    workspace.check({}, overwrite)  # before anything is downloaded
    network = find_generalist(generalist or chosen.generalist)
    feature_net = find_features(features or chosen.features, feature_weights)
    settings = {
        'pdd_arch': __version__,
        'photographs': os.path.abspath(photographs),
        'hr': os.path.abspath(hr),
        'generalist': network.weights,
        'preset': preset,
        'features': list(feature_net),
        'weights': [network.sha256, None if feature_net[1] == 'imagenet' else sha256_of(feature_net[1])],
        'iterations': iterations or chosen.iterations,
        'batch': batch,
        'inter_weight': inter_weight,
        'tune': tune,
        'device': machine.device,
    }
    workspace.check(settings, overwrite)
    crop = (chosen.on_gpu if machine.device == 'cuda' else chosen.on_cpu)[0]
    say(f'machine: {machine.describe()}')
    target = inspect_photographs(photographs, 'PHOTOS', crop, target=True)
    _tell('photographs', target, say)
    clean = inspect_photographs(hr, '--hr', crop * network.scale, target=False)
    _tell('HR photographs', clean, say)
    settings['images'] = identity(target, clean)
    parts = {'photographs': split(target), 'hr': split(clean)}  # before anything is written
    with workspace.held():
        if workspace.begin(settings, overwrite):
            record = workspace.finished()
            if record is not None:
                say(f'{shown(workspace.root)} is finished; nothing is left to do')
                return result_of_record(workspace, record)
            say(f'continuing in {shown(workspace.root)}')
        return _Job(workspace, chosen, machine, network, feature_net, batch, say).run(parts, target, clean, settings)


def _tell(what: str, found: PhotographSet, say: Callable[[str], None]) -> None:
    say(f'{what}: {found.describe()}')
    for finding in found.findings:
        say(f'  {finding}')


@dataclass
class _Job:
    """The steps of :func:`adapt`, on checked arguments."""

    workspace: Workspace
    preset: Preset
    machine: Machine
    generalist: Network
    features: tuple[str, str]
    batch: int | None
    say: Callable[[str], None]

    def run(self, parts: dict, target: PhotographSet, clean: PhotographSet, settings: dict) -> Adaptation:
        trained = {kind: side for kind, (side, _) in parts.items()}
        held_out = {kind: side for kind, (_, side) in parts.items()}
        for kind in parts:
            self.workspace.link(kind, trained[kind])
            self.workspace.link(f'{kind}_held_out', held_out[kind])
        self.say(
            f'to learn from: {len(trained["photographs"])} of the photographs and {len(trained["hr"])} HR photographs; '
            f'to judge by: the other {len(held_out["photographs"])} and {len(held_out["hr"])}'
        )
        pixels = sum(p.height * p.width for side in trained.values() for p in side)
        iterations, ratio = settings['iterations'], settings['inter_weight']
        opt = self._options(_MAIN_RUN, pixels, iterations, ratio)
        data = opt['datasets']['train']
        self.say(
            f'{iterations} steps, each on {data["batch_size_per_gpu"]} crops of both, '
            f'{data["gt_size"] // opt["scale"]} pixels of a photograph a side, {opt["train"]["precision"]}'
        )
        self.say('estimating from the photographs what the camera does to them')
        judge = Judge.prepare(self.workspace, trained['photographs'], held_out, trained['hr'], opt, self.machine.device)
        self.say(f'  {judge.camera}')
        tuning = None
        if settings['tune']:
            tuning = self._tune(judge, pixels, max(iterations // _TUNE_SHARE, 1), held_out)
            ratio = max(tuning, key=lambda r: score(tuning[r]))
            self.say(f'ratio of the distances chosen: {ratio:g}')
            opt = self._options(_MAIN_RUN, pixels, iterations, ratio)
        measured = self._train_and_judge(_MAIN_RUN, opt, judge, held_out)
        choice = choose({k: v for k, v in measured.items() if k})
        return self._finish(opt, judge, measured, choice, held_out, target, clean, settings, ratio, tuning)

    def _options(self, name: str, pixels: int, iterations: int, ratio: float | None) -> dict:
        """Options of a run; those that it was begun with, if it was."""
        file = self.workspace.option_file(name)
        if file.is_file():  # memory may have been freer then
            return load_options(file)
        return run_options(
            self.preset,
            self.machine,
            self.workspace,
            name,
            (self.generalist.weights, self.generalist.scale),
            self.features,
            pixels,
            iterations,
            ratio,
            self.batch,
        )

    def _train_and_judge(self, name: str, opt: dict, judge: Judge, held_out: dict) -> dict[int, Signals]:
        file = self.workspace.option_file(name)
        command = f'basicsr train -opt {file.name}'
        if not file.is_file():
            write_options(opt, file, f'Written by `pdd adapt`. To repeat this run, in this folder:\n    {command}')
        photograph = read_image(held_out['photographs'][0].path)
        device = self.machine.device
        generalist = tensor_upscaler(trained_network(opt['network_g'], None, device=device), device)

        def preview(_iteration: int, path: Path) -> None:
            student = tensor_upscaler(
                trained_network(opt['network_g'], path, 'params_ema', device, 'checkpoint'), device
            )
            write_preview(self.workspace.preview, photograph, (generalist, student))

        label = 'adapting' if name == _MAIN_RUN else name
        train(self.workspace, name, opt['train']['total_iter'], preview, label)
        return judge.measure(self.workspace, name, {0: None, **candidates(self.workspace, name, opt)})

    def _tune(self, judge: Judge, pixels: int, iterations: int, held_out: dict) -> dict[float, Signals]:
        """The best checkpoint's signals of a short run with each ratio."""
        found = {}
        for ratio in RATIOS:
            name = f'{_MAIN_RUN}_ratio_{ratio:g}'.replace('.', '_')
            opt = self._options(name, pixels, iterations, ratio)
            measured = self._train_and_judge(name, opt, judge, held_out)
            choice = choose({k: v for k, v in measured.items() if k})
            found[ratio] = measured[choice.key]
            self.say(f'ratio {ratio:g}: {choice.reason}')
        return found

    def _finish(
        self,
        opt: dict,
        judge: Judge,
        measured: dict,
        choice: Choice,
        held_out: dict,
        target: PhotographSet,
        clean: PhotographSet,
        settings: dict,
        ratio: float | None,
        tuning: dict | None,
    ) -> Adaptation:
        workspace, before, after = self.workspace, measured[0], measured[choice.key]
        path = candidates(workspace, _MAIN_RUN, opt)[choice.key]
        write_signals(workspace.checkpoints, measured, choice.key)
        improved, lines = statement(before, after, len(judge.held_out.hr), len(judge.held_out.photographs))
        device = self.machine.device
        upscalers = {}
        for name, weights in (('generalist', None), ('adapted', path)):
            net = trained_network(opt['network_g'], weights, 'params_ema', option='checkpoint')
            upscalers[name] = TiledUpscaler(net, opt['scale'], device=device)
        write_photographs_page(workspace, held_out['photographs'], upscalers, measured, choice, lines)
        write_model(workspace, path)
        write_record(
            workspace,
            {
                'generalist': self.generalist.described(),
                'photographs': recorded(target),
                'hr': recorded(clean),
                'options': {k: v for k, v in settings.items() if k not in _NOT_RECORDED}
                | {'features': [self.features[0], Path(self.features[1]).name]}
                | {'inter_weight': ratio if ratio is not None else 1.0, 'option_file': f'{_MAIN_RUN}.yml'},
                'camera': asdict(judge.camera),
                'chosen': {'iteration': choice.key, 'reason': choice.reason},
                **({'tuning': {str(r): asdict(s) for r, s in tuning.items()}} if tuning else {}),
                'metrics': {
                    'generalist': asdict(before),
                    'adapted': asdict(after),
                    'improved': improved,
                    'statement': lines,
                },
            },
        )
        return Adaptation(workspace.model, workspace.page, improved, lines, choice.key, before, after)
