"""The options of one run: the validated file, the command line, and what follows from them."""

import os
import random
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import MODEL_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import Network, Optimizer, Options
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.user_modules import import_user_modules
from pdd_arch.utils.wording import did_you_mean


@dataclass(frozen=True)
class RunOptions:
    """Everything that is asked of one run, validated and typed.

    Attributes:
        file: the options of the file and ``--force_yml``.
        root_path: folder below which experiments/, results/ and tb_logger/ are written.
        name: name of the output folders; ``debug_...`` in debug mode.
        seed: seed of all random numbers.
        seed_drawn: whether the seed was drawn at this start, not given; a resumed run takes its state's instead.
        distributed: whether a launcher has started this process among others.
        auto_resume: whether to continue from the newest training state.
        adaptation: the ``train`` section with all defaults; None in a test and for other models than `PDDModel`.
    """

    file: Options | BasicOptions
    is_train: bool
    root_path: str
    name: str
    seed: int
    seed_drawn: bool
    distributed: bool
    auto_resume: bool
    adaptation: AdaptationSettings | None
    _given: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        is_train: bool = True,
        root_path: str = '',
        launcher: str = 'none',
        auto_resume: bool = False,
        debug: bool = False,
    ) -> 'RunOptions':
        """The options of a file.

        Args:
            given: content of the file, with ``--force_yml`` applied; it belongs to the result.
            root_path: folder of all outputs; the current one by default.
        """
        file = validated_file(given, is_train)
        adaptation = None
        if is_train and isinstance(file, Options):
            assert file.train is not None
            adaptation = AdaptationSettings.of(file.train, file.network_teacher is not None, file.network_d is not None)
        return cls(
            file=file,
            is_train=is_train,
            root_path=root_path or os.getcwd(),
            name=f'debug_{file.name}' if debug and not file.name.startswith('debug') else file.name,
            seed=random.randint(1, 10000) if file.manual_seed is None else file.manual_seed,
            seed_drawn=file.manual_seed is None,
            distributed=launcher != 'none',
            auto_resume=auto_resume,
            adaptation=adaptation,
            _given=given,
        )

    @property
    def pdd(self) -> Options:
        """The file of a run of `PDDModel`."""
        assert isinstance(self.file, Options)
        return self.file

    @property
    def train(self) -> AdaptationSettings:
        """The ``train`` section of a training run of `PDDModel`."""
        assert self.adaptation is not None
        return self.adaptation

    @property
    def scale(self) -> int:
        """The scale factor; 1 where the file has none, as for restoration without upscaling."""
        return self.file.scale or 1

    @property
    def output_folder(self) -> str:
        """``experiments/NAME`` of a training, ``results/NAME`` of a test."""
        return os.path.join(self.root_path, 'experiments' if self.is_train else 'results', self.name)

    def dataset_name(self, phase: str) -> str:
        """Name of the dataset of ``datasets.PHASE`` in logs and result folders."""
        return self.file.datasets[phase].name or phase

    def for_basicsr(self) -> dict[str, Any]:
        """BasicSR's option dictionary, a new one at each call: what the file holds, and what BasicSR derives."""
        opt = deepcopy(dict(self._given))
        opt |= {'auto_resume': self.auto_resume, 'is_train': self.is_train, 'dist': self.distributed}
        opt |= {'name': self.name, 'manual_seed': self.seed}
        # one by one: sections may be the same object, by an alias of YAML
        opt['datasets'] = {phase: deepcopy(dataset) for phase, dataset in opt['datasets'].items()}
        for phase, dataset in opt['datasets'].items():
            dataset |= {'phase': phase.split('_')[0], 'name': self.dataset_name(phase), 'manual_seed': self.seed}
            if 'scale' in opt:
                dataset['scale'] = opt['scale']
            _expand(dataset, [key for key in dataset if str(key).startswith(('dataroot_', 'meta_info'))])
        paths = opt['path']
        _expand(paths, [key for key in paths if 'resume_state' in key or 'pretrain_network' in key])
        root = self.output_folder
        outputs = {'log': root, 'visualization': os.path.join(root, 'visualization')}
        if not self.is_train:
            paths |= {'results_root': root, **outputs}
            opt['val'].setdefault('suffix', None)
            return opt
        states = {name: os.path.join(root, name) for name in ('models', 'training_states')}
        paths |= {'experiments_root': root, **states, **outputs}
        opt['logger'].setdefault('use_tb_logger', False)
        if 'debug' in self.name:
            if opt.get('val') is not None:
                opt['val']['val_freq'] = 8
            opt['logger'] |= {'print_freq': 1, 'save_checkpoint_freq': 8}
        return opt


def schema_of(given: Mapping[str, Any]) -> type[Options | BasicOptions]:
    """What an option file is checked against: for other models than `PDDModel`, what every BasicSR run has."""
    return Options if given.get('model_type', 'PDDModel') == 'PDDModel' else BasicOptions


def with_imports(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The content of an option file, under whose ``import`` the modules `names` of a command line are added."""
    own = given.get('import')
    listed = [own] if isinstance(own, str) else own or []
    added = list(dict.fromkeys(names))
    if not added or not isinstance(listed, list):  # the latter is the schema's to judge
        return dict(given)
    return {**given, 'import': [*listed, *(name for name in added if name not in listed)]}


def validated_file(given: Mapping[str, Any], is_train: bool) -> Options | BasicOptions:
    """The content of an option file: names, types and limits are right, and the sections of the command are there.

    The modules that it names under ``import`` are imported.
    """
    file = validated(schema_of(given), dict(given))
    if isinstance(file, BasicOptions):
        _check_sections_of_others(file)
    import_user_modules(file.import_ or ())
    registered_as('model', MODEL_REGISTRY, file.model_type, 'model_type')
    # the schema leaves them optional, as the other command does without them
    for section in ('train', 'logger') if is_train else ('val',):
        if getattr(file, section) is None:
            hint = did_you_mean(section, map(str, given))
            raise OptionError('missing', where=section, expected='a section', way_out=hint)
    if is_train and 'train' not in file.datasets:
        raise OptionError('missing', where='datasets.train', expected='a section')
    return file


def _check_sections_of_others(file: BasicOptions) -> None:
    """Networks and optimizers with letters of their own are sections of those kinds, too."""
    for key, value in (file.model_extra or {}).items():
        if key.startswith('network_') and value is not None:
            validated(Network, value, key)
    for key, value in ((file.train and file.train.model_extra) or {}).items():
        if key.startswith('optim_') and value is not None:
            validated(Optimizer, value, f'train.{key}')


def _expand(section: dict[str, Any], keys: tuple[str, ...] | list[str]) -> None:
    """Put the home folder for a leading ``~`` of paths, in place."""
    for key in keys:
        if isinstance(section.get(key), str):
            section[key] = os.path.expanduser(section[key])
