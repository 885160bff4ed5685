"""Keys of an option file that nobody reads: a misspelt one changes nothing, and nobody would notice."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pdd_arch.models.pdd_model import PDDModel
from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.fields import Section
from pdd_arch.options.read_keys import ReadKeys, keys_read_by
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import LoggerOptions, Options, OtherSet, WandbOptions
from pdd_arch.preflight.classes import dataset_of, is_published, model_of
from pdd_arch.utils.wording import did_you_mean, edit_distance, show_key, show_path

#: what BasicSR's loop and this package read, by section, whatever the model
_OF_THE_LOOP: dict[tuple[str, ...], Collection[str]] = {
    (): (
        *('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'path', 'train', 'val', 'logger'),
        *('dist_params', 'import', 'auto_resume', 'find_unused_parameters'),
    ),
    ('path',): ('resume_state', 'ignore_resume_networks'),
    ('train',): ('total_iter', 'warmup_iter'),
    ('val',): ('val_freq', 'save_img', 'metrics', 'suffix'),
    ('logger',): LoggerOptions.model_fields,
    ('logger', 'wandb'): WandbOptions.model_fields,
}
#: added by BasicSR
_NOT_OF_FILES = ('auto_resume', 'dist', 'is_train', 'rank', 'world_size', 'phase')
#: keys without a hint that are named
MORE = 8
#: read by nobody, and written in BasicSR's own files: training data are shuffled
_ALWAYS = ('use_shuffle', True)
_OF_THE_LOADER = (*OtherSet.model_fields, 'phase', 'scale', 'manual_seed')


def unread_keys(options: RunOptions) -> Iterator[str]:
    """A sentence for each key of a file for other models than `PDDModel` that neither loop nor classes read.

    Of a class of the user's own, which may read a key in ways that its source does not show, only for one that is a
    misspelling of a key that is read.
    """
    file = options.file
    if not isinstance(file, BasicOptions):
        return
    model = model_of(options)
    own: dict[tuple[str, ...], Section | None] = {
        (): file,
        ('path',): file.path,
        ('train',): file.train,
        ('val',): file.val,
        ('logger',): file.logger,
    }
    own[('logger', 'wandb')] = file.logger and file.logger.wandb
    read, is_known_whole = keys_read_by(model), is_published(model)
    for place, section in own.items():
        if section is None or (place == ('train',) and not options.is_train):
            continue
        known = {*_OF_THE_LOOP[place], *_below(place, read), *_of_pdd(model, place)}
        yield from _unread(place, section.given(), known, read, is_known_whole, file.model_type)
    for phase, dataset in file.datasets.items():
        cls = dataset_of(dataset.type, f'datasets.{phase}')
        read = keys_read_by(cls)
        if dataset.type != 'UnpairedAdaptationDataset':
            known = {*_OF_THE_LOADER, *_below((), read)}
            place = ('datasets', show_key(phase))
            given = dict(item for item in dataset.given().items() if item != _ALWAYS and not _is_repeated(item, file))
            yield from _unread(place, given, known, read, is_published(cls), dataset.type)


def _is_repeated(item: tuple[str, Any], file: BasicOptions) -> bool:
    """Whether an entry of a dataset repeats one of the file, as ``gt_size`` in Real-ESRGAN's own, which models read."""
    key, value = item
    return key in file.given() and file.given()[key] == value


def _unread(
    place: tuple[str, ...], given: Mapping[str, Any], known: set[str], read: ReadKeys, whole: bool, name: str
) -> Iterator[str]:
    others, meant = [], known - given.keys() - {*_NOT_OF_FILES}  # a key that is given is not what another one means
    for key, value in given.items():
        if key in known or key in read.names or value is None:
            continue
        near = [other for other in known if _is_misspelling(key, other)]
        hint = _hint(key, place, near or sorted(meant), read) if whole or near else ''
        if hint:
            yield f'{show_path((*place, show_key(key)))}: {name} reads no such key. {hint}'
        elif whole:
            others.append(show_path((*place, show_key(key))))
    if others:
        listed = f'{", ".join(others[:MORE])} and {len(others) - MORE} more' if others[MORE:] else ', '.join(others)
        yield f'{listed}: {name} reads no such key{"s" if others[1:] else ""}.'


def _is_misspelling(key: str, other: str) -> bool:
    """Whether a key is another one but for a letter or two; network_d is none of network_g."""
    of_another_network = key[-2:-1] == '_' and key[:-1] == other[:-1]
    return edit_distance(key, other) <= min(2, len(key) // 3) and not of_another_network


def _hint(key: str, place: tuple[str, ...], meant: list[str], read: ReadKeys) -> str:
    """What may be meant by a key: one of a similar name, or the same one of another section."""
    if hint := did_you_mean(key, meant, cutoff=0.75):
        return hint
    of_loop = [(*section, key) for section, keys in _OF_THE_LOOP.items() if key in keys]
    paths = [path for path in (*of_loop, *sorted(read.paths)) if path[-1] == key and path[:-1] != place]
    return f'Did you mean {show_path(paths[0])!r}?' if paths and place[:1] != ('datasets',) else ''


def _below(place: tuple[str, ...], read: ReadKeys) -> set[str]:
    """The keys directly below a section that a class reads."""
    return {path[len(place)] for path in read.paths if len(path) > len(place) and path[: len(place)] == place}


def _of_pdd(model: type, place: tuple[str, ...]) -> Collection[str]:
    """The keys of a section that a model derived from `PDDModel` has."""
    if not issubclass(model, PDDModel):
        return ()
    section: Any = Options
    for key in place:
        annotation = section.model_fields[key].annotation
        section = next((a for a in getattr(annotation, '__args__', (annotation,)) if hasattr(a, 'model_fields')), None)
    return {field.alias or name for name, field in section.model_fields.items()}
