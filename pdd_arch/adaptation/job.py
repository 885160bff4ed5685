"""An adaptation from beginning to end."""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pdd_arch.adaptation import arguments, outcome
from pdd_arch.adaptation.arguments import Generalist
from pdd_arch.adaptation.child_training import checkpoints, train
from pdd_arch.adaptation.judge import Judge, Material, averaged_network
from pdd_arch.adaptation.outcome import Adaptation
from pdd_arch.adaptation.photographs import PhotographSet, identity, inspect_photographs
from pdd_arch.adaptation.preset import PRESETS, Machine, run_options, write_options
from pdd_arch.adaptation.workspace import Settings, Split, Workspace, split
from pdd_arch.errors import MissingFileError, PDDError
from pdd_arch.inference import TiledUpscaler
from pdd_arch.inference.load import load_network
from pdd_arch.inference.methods import bicubic_upscaler, image_upscaler
from pdd_arch.options.yaml_file import load_options
from pdd_arch.report.page import read_rgb
from pdd_arch.selection import Choice, Signals, choose
from pdd_arch.training.speed_trial import Measured, fastest
from pdd_arch.utils.atomic import write_json
from pdd_arch.utils.files import sha256_of
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__
from pdd_arch.weights.checkpoints import read_checkpoint
from pdd_arch.weights.writing import write_checkpoint

#: ratios of the inter-model to the intra-model distance that --tune compares
RATIOS = (0.1, 1.0, 4.0)
#: the runs of --tune have the iterations of the final one divided by this
_TUNE_SHARE = 2
_MAIN_RUN = 'adapt'
#: settings that say where files are, or that the record has elsewhere
_NOT_RECORDED = ('photographs', 'hr', 'generalist', 'weights')


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
        generalist: network to adapt: a weight file, or a name in `pdd_arch.weights.zoo`; None: the preset's.
        preset: ``fast`` or ``paper``.
        features: feature network: ``squeezenet1_0`` or ``vgg19``; None: the preset's.
        feature_weights: its weights: ``imagenet`` (downloaded when first needed) or a file.
        iterations: number of training iterations; None: the preset's.
        batch: images of each domain in an iteration; None: what suits the machine.
        inter_weight: weight of the inter-model distance, that of the intra-model distance being 1; None: 1, or what
            `tune` finds.
        tune: compare several of these ratios in short runs first.
        device: ``cpu``, ``cuda``, or None: a GPU where there is one.
        overwrite: start anew where `out` holds an adaptation with other settings.
        say: called with each line that tells people what is found and done.

    Raises:
        OptionError, MissingFileError, DataError, WeightsError: something given is wrong.
        Stopped: a signal arrived; the same call continues.
        TrainingFailed: the training failed.
    """
    arguments.require_known('--preset', preset, PRESETS)
    if hr is None:
        raise MissingFileError('is missing', where='--hr', way_out=arguments.HR_HELP)
    photographs, hr, out = (Path(path).expanduser() for path in (photographs, hr, out))
    arguments.check_folders(photographs, hr, out)
    arguments.check_numbers(iterations, batch, inter_weight)
    chosen, machine, workspace = PRESETS[preset], Machine.here(device), Workspace(out)
    workspace.check({}, overwrite)  # before anything is downloaded
    network = arguments.find_generalist(generalist or chosen.generalist)
    for note in network.notes:
        say(note)
    feature_net = arguments.find_features(features or chosen.features, feature_weights)
    settings = Settings(
        pdd_arch=__version__,
        photographs=os.path.abspath(photographs),
        hr=os.path.abspath(hr),
        generalist=network.weights,
        preset=preset,
        features=feature_net,
        weights=[network.sha256, None if feature_net[1] == 'imagenet' else sha256_of(feature_net[1])],
        iterations=iterations or chosen.iterations,
        batch=batch,
        inter_weight=inter_weight,
        tune=tune,
        device=machine.device,
    )
    workspace.check(asdict(settings), overwrite)
    crop, _ = chosen.sizes[machine.device]
    say(f'machine: {machine.describe()}')
    found = {
        'photographs': inspect_photographs(photographs, 'PHOTOS', crop, target=True),
        'hr': inspect_photographs(hr, '--hr', crop * network.scale, target=False),
    }
    for what, images in zip(('photographs', 'HR photographs'), found.values(), strict=True):
        say(f'{what}: {images.describe()}')
        for finding in images.findings:
            say(f'  {finding}')
    parts = {kind: split(images) for kind, images in found.items()}  # before anything is written
    with workspace.held():
        if workspace.begin(asdict(settings) | {'images': identity(*found.values())}, overwrite):
            record = workspace.finished()
            if record is not None:
                say(f'{shown(workspace.root)} is finished; nothing is left to do')
                return outcome.result_of_record(workspace, record, _unreadable(found))
            say(f'continuing in {shown(workspace.root)}')
        return _Job(workspace, settings, machine, network, found, parts, say).run()


@contextlib.contextmanager
def judging_thread(machine: Machine) -> Iterator[tuple[ThreadPoolExecutor, Callable[[], None]]]:
    """One thread for the estimate of the camera and the judging of checkpoints, beside the training.

    Work in it has to call the function that is given as well: where the block is left early, by a signal or an error,
    it raises CancelledError, so that nobody waits for work that is no longer wanted. Within the block torch takes half
    of the cores in this process: the training needs the others.
    """
    left = threading.Event()

    def check() -> None:
        if left.is_set():
            raise CancelledError

    threads = torch.get_num_threads()
    torch.set_num_threads(max(machine.cores // 2, 1))
    beside = ThreadPoolExecutor(1, 'judge', initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))
    try:
        yield beside, check
    finally:
        left.set()
        beside.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Run:
    """A training that has ended: its signals by iteration (0: the generalist), and the checkpoint that was chosen."""

    measured: Mapping[int, Signals]
    choice: Choice
    checkpoint: Path

    @property
    def best(self) -> Signals:
        return self.measured[self.choice.key]


@dataclass(frozen=True)
class _Job:
    """The steps of :func:`adapt`, on checked arguments. Images are by kind: ``photographs`` and ``hr``."""

    workspace: Workspace
    settings: Settings
    machine: Machine
    generalist: Generalist
    found: Mapping[str, PhotographSet]
    parts: Mapping[str, Split]
    say: Callable[[str], None]

    def run(self) -> Adaptation:
        for kind, part in self.parts.items():
            self.workspace.link(kind, part.train)
            self.workspace.link(f'{kind}_held_out', part.held_out)
        photographs, hr = self.parts['photographs'], self.parts['hr']
        self.say(
            f'to learn from: {len(photographs.train)} of the photographs and {len(hr.train)} HR photographs; to judge '
            f'by: the other {len(photographs.held_out)} and {len(hr.held_out)}'
        )
        opt = self._options(_MAIN_RUN, self.settings)
        data = opt['datasets']['train']
        self.say(
            f'{self.settings.iterations} steps, each on {data["batch_size_per_gpu"]} crops of both, '
            f'{data["gt_size"] // opt["scale"]} pixels of a photograph a side, {opt["train"]["precision"]}'
        )
        material = Material.read(self.workspace, photographs, hr, opt['scale'])
        with judging_thread(self.machine) as (beside, check):
            judge = beside.submit(Judge.prepare, self.workspace, material, opt, self.machine.device, check)
            ratio, tuning = self.settings.ratio, self._tune(judge, beside) if self.settings.tune else {}
            if tuning:
                ratio = max(tuning, key=lambda r: tuning[r].score)
                self.say(f'ratio of the distances chosen: {ratio:g}')
                opt = self._options(_MAIN_RUN, replace(self.settings, inter_weight=ratio))
            run = self._train_and_judge(_MAIN_RUN, opt, judge, beside)
        self.say(f'estimated from the photographs: {judge.result().camera}')
        return self._finish(judge.result(), run, ratio, tuning)

    def _options(self, name: str, settings: Settings) -> dict[str, Any]:
        """Options of a run; those that it was begun with, if it was."""
        file = self.workspace.option_file(name)
        if file.is_file():  # memory may have been freer then
            return load_options(file)
        pixels = sum(p.height * p.width for part in self.parts.values() for p in part.train)
        opt = run_options(settings, self.generalist.scale, self.machine, name, pixels)
        conditions = self._measured.chosen
        opt['train'] |= {'precision': conditions.precision, 'threads': conditions.threads}
        return opt

    @functools.cached_property
    def _measured(self) -> Measured:
        """How the generalist trains fastest here; written to the option file, so that a repeated run does the same."""
        device, (crop, _) = torch.device(self.machine.device), PRESETS[self.settings.preset].sizes[self.machine.device]
        net = load_network(self.generalist.weights, '--generalist').net
        net = net.requires_grad_().to(device).to(memory_format=torch.channels_last)
        measured = fastest(net, crop, device, 'auto', 'auto')
        self.say(f'trained in {measured}')
        return measured

    def _train_and_judge(
        self, name: str, opt: Mapping[str, Any], judge: Future[Judge], beside: ThreadPoolExecutor
    ) -> _Run:
        """Train, and judge each checkpoint beside the training as soon as it is there."""
        file = self.workspace.option_file(name)
        if not file.is_file():
            command = f'basicsr train -opt {file.name}'
            write_options(opt, file, f'Written by `pdd adapt`. To repeat this run, in this folder:\n    {command}')
        photograph = read_rgb(self.parts['photographs'].held_out[0].path)[..., ::-1]
        device = self.machine.device
        others = (bicubic_upscaler(opt['scale']), image_upscaler(averaged_network(opt, None, device), device))
        every, last = opt['logger']['save_checkpoint_freq'], opt['train']['total_iter']
        submitted: list[Future[dict[int, Signals]]] = []

        def on_checkpoint(iteration: int, path: Path) -> None:
            student = image_upscaler(averaged_network(opt, path, device), device)
            outcome.write_preview(self.workspace.preview, photograph, (*others, student))
            if judge.done():
                judge.result()  # its error ends the training
            # a stop saves one as well, which an uninterrupted run has not; a GPU has no room for another network
            if device == 'cpu' and (iteration % every == 0 or iteration == last):
                submitted.append(beside.submit(self._measure, judge, name, {iteration: path}, progress=False))

        train(self.workspace, name, last, on_checkpoint, 'adapting' if name == _MAIN_RUN else name)
        for waiting in submitted:
            waiting.cancel()  # measured below, where the progress is shown
        saved = {k: path for k, path in checkpoints(self.workspace, name).items() if k % every == 0 or k == last}
        self.say(f'judging {len(saved)} checkpoints by the images kept for that')
        # what failed in between fails again here, where it is heard
        measured = beside.submit(self._measure, judge, name, saved).result()
        choice = choose({k: v for k, v in measured.items() if k})
        return _Run(measured, choice, saved[choice.key])

    def _measure(
        self, judge: Future[Judge], name: str, saved: Mapping[int, Path], progress: bool = True
    ) -> dict[int, Signals]:
        return judge.result().measure(self.workspace, name, saved, progress)

    def _tune(self, judge: Future[Judge], beside: ThreadPoolExecutor) -> dict[float, Signals]:
        """The best checkpoint's signals of a short run with each ratio."""
        found = {}
        for ratio in RATIOS:
            name = f'{_MAIN_RUN}_ratio_{ratio:g}'.replace('.', '_')
            iterations = max(self.settings.iterations // _TUNE_SHARE, 1)
            opt = self._options(name, replace(self.settings, iterations=iterations, inter_weight=ratio))
            run = self._train_and_judge(name, opt, judge, beside)
            found[ratio] = run.best
            self.say(f'ratio {ratio:g}: {run.choice.reason}')
        return found

    def _finish(self, judge: Judge, run: _Run, ratio: float, tuning: Mapping[float, Signals]) -> Adaptation:
        """Write table, page, model and record."""
        workspace, iteration, reason = self.workspace, run.choice.key, run.choice.reason
        outcome.write_table(workspace.table, run.measured, iteration)
        before, held_out = run.measured[0], self.parts['photographs'].held_out
        improved, lines = outcome.statement(before, run.best, len(judge.held_out.hr), len(judge.held_out.photographs))
        upscalers = {
            name: TiledUpscaler(
                averaged_network(judge.opt, weights, self.machine.device),
                self.generalist.scale,
                device=self.machine.device,
            )
            for name, weights in (('generalist', None), ('adapted', run.checkpoint))
        }
        notes = [*lines, f'Iteration {iteration} was chosen: {reason}.']
        outcome.write_photographs_page(workspace, held_out, upscalers, run.measured, notes)
        write_checkpoint({'params_ema': read_checkpoint(run.checkpoint)['params_ema']}, workspace.model)
        kind, weights = self.settings.features
        train = load_options(workspace.option_file(_MAIN_RUN))['train']
        metrics = {'generalist': asdict(before), 'adapted': asdict(run.best)}
        record = {
            'generalist': self.generalist.described(),
            # without names of files: the record goes out with the model
            **{k: {'usable': len(f.usable), 'found': [x.text for x in f.findings]} for k, f in self.found.items()},
            'options': {k: v for k, v in asdict(self.settings).items() if k not in _NOT_RECORDED}
            | {'features': [kind, Path(weights).name]}
            | {'inter_weight': ratio, 'option_file': f'{_MAIN_RUN}.yml'}
            | {name: value for name, value in train.items() if name in ('precision', 'threads', 'channels_last')},
            'camera': asdict(judge.camera),
            'chosen': {'iteration': iteration, 'reason': reason},
            **({'tuning': {str(r): asdict(s) for r, s in tuning.items()}} if tuning else {}),
            'metrics': metrics | {'improved': improved, 'statement': lines},
        }
        write_json(workspace.record, record)
        return outcome.result_of_record(workspace, record, _unreadable(self.found))


def _unreadable(found: Mapping[str, PhotographSet]) -> list[PDDError]:
    return [error for images in found.values() for error in images.unreadable]
