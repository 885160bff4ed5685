"""Writing a network in several forms into a folder."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.export.forms import Form, Write, chosen_forms
from pdd_arch.export.model_card import ADAPTATION, adaptation_of, facts_of, model_card
from pdd_arch.export.readers import Reader
from pdd_arch.export.verify import TOLERANCE, Reference, first_line, largest_difference, photographs, windows_of
from pdd_arch.inference.load import ADAPTED_MODEL, LoadedNetwork, load_network
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.hashing import sha256_of
from pdd_arch.utils.wording import shown

CARD = 'MODEL_CARD.md'


@dataclass(frozen=True)
class ExportedFile:
    """A form that was asked for, and what became of it.

    Attributes:
        form: its name in `pdd_arch.export.FORMS`.
        path: of the file.
        bytes: its size; 0 where there is none.
        sha256: of the file.
        difference: largest one from PyTorch's output, in levels of 255, over all tools that read it.
        read_by: names of those tools.
        note: what users must know of this file, such as the type of its input; may be empty.
        problem: why it was not written; None for one that was.
    """

    form: str
    path: Path
    bytes: int = 0
    sha256: str = ''
    difference: float | None = None
    read_by: tuple[str, ...] = ()
    note: str = ''
    problem: str | None = None


def export_model(
    model: str | Path,
    folder: str | Path,
    forms: Iterable[str] = ('all',),
    *,
    verify: str | Path | None = None,
    side: int = 128,
    overwrite: bool = False,
    on_file: Callable[[ExportedFile], None] | None = None,
) -> list[ExportedFile]:
    """Write a network in other forms, run each with the tools it is for, and describe them in ``MODEL_CARD.md``.

    A file gets its name only when every such tool has read it and agrees with PyTorch within 1 level of 255 on
    photographs of several sizes, odd ones among them. One form that fails does not keep the others from being written.

    Args:
        model: as for `pdd_arch.inference.load.load_network`.
        folder: to write to; made if need be.
        forms: names in `pdd_arch.export.FORMS`, or ``all``.
        verify: photograph or folder of photographs (LR) to compare on; None: some that come with scikit-image.
        side: of the windows compared at most, in LR pixels; 0: whole photographs.
        overwrite: replace files that exist.
        on_file: called after every form, also one that failed.

    Returns:
        What was written, in the order of `FORMS`.

    Raises:
        OptionError: a form is unknown or its packages are not installed, or a file exists: nothing has been written.
        MissingFileError, DataError: model or photographs do not exist or cannot be read, or the folder not be written.
        WeightsError: the model cannot be read; or, after all others have been written, a form has failed.
    """
    wanted = chosen_forms(forms)
    if isinstance(side, bool) or not isinstance(side, int) or (side and side < 16) or side < 0:
        raise OptionError(f'--verify-size: expected a whole number of at least 16, or 0, found {side!r}')
    network = load_network(model)
    if network.name.encode(errors='ignore').decode() != network.name:  # the files get this name, and hold it
        raise OptionError(f'model: the name {shown(network.name)} is not UTF-8. Rename it.')
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f'-o {shown(folder)}: is a file; expected a folder')
    paths = {name: folder / f'{network.name}{form.suffix}' for name, form in wanted.items()}
    _check_targets([*paths.values(), folder / CARD], network, overwrite)
    adaptation = adaptation_of(network)
    windows = windows_of(*photographs(verify), side=side)
    reference = Reference(network, windows)
    files = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.pdd-export-', dir=folder) as stage:
            for name, form in wanted.items():
                files.append(_export(name, form, paths[name], Path(stage), reference))
                if on_file is not None:
                    on_file(files[-1])
        written = [file for file in files if file.problem is None]
        if written:
            with whole_file(folder / CARD) as partial:
                partial.write_text(model_card(network, written, windows, adaptation), encoding='utf-8')
    failed = [file for file in files if file.problem is not None]
    if failed:
        why = '; '.join(f'{file.form}: {file.problem}' for file in failed)
        others = f' Written and verified: {", ".join(file.form for file in written)}.' if written else ''
        raise WeightsError(f'not written: {why}.{others}')
    return files


def _check_targets(paths: list[Path], network: LoadedNetwork, overwrite: bool) -> None:
    own = next((path for path in paths if path.exists() and path.samefile(network.file)), None)
    if own is not None:
        raise OptionError(f'-o: {shown(own)} is the model itself, which is never replaced. Choose another folder.')
    another = next((path for path in paths if path.exists() and _is_adapted(path)), None)
    if another is not None:
        raise OptionError(
            f'-o: {shown(another)} is a model of `pdd adapt`, which is never replaced. Choose another folder.'
        )
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        names = ', '.join(shown(path.name) for path in existing)
        raise OptionError(
            f'-o: {shown(existing[0].parent)} holds {names} already. Choose another folder, or give --overwrite.'
        )


def _is_adapted(path: Path) -> bool:
    return path.name == ADAPTED_MODEL and (path.parent / ADAPTATION).exists()


def _export(name: str, form: Form, path: Path, stage: Path, reference: Reference) -> ExportedFile:
    network, staged = reference.network, stage / path.name
    readers = form.readers(network)
    problems = []
    for note, write in form.candidates.items():
        difference, problem = 0.0, _written(write, network, staged)
        if problem is None:
            difference, problem = _verified(staged, readers, reference)
        if problem is None:
            digest, size = sha256_of(staged), staged.stat().st_size
            _publish(staged, path)
            return ExportedFile(name, path, size, digest, difference, tuple(r.name for r in readers), note)
        problems.append(f'{note}: {problem}' if note else problem)
    if path.exists():
        problems.append(f'the earlier {shown(path.name)} is untouched')
    return ExportedFile(name, path, problem='; '.join(problems))


def _written(write: Write, network: LoadedNetwork, path: Path) -> str | None:
    """What is wrong if it could not be written."""
    try:
        with warnings.catch_warnings():
            # numbers that are too small or too large for float16: it shows in the verification what they matter
            warnings.filterwarnings('ignore', module='onnxruntime')
            write(network, path, facts_of(network))
    except OSError:
        raise
    except Exception as e:  # an exporter that does not know an operation of the network
        return f'cannot be made of {type(network.net).__name__} ({type(e).__name__}: {first_line(e)})'
    return None


def _verified(path: Path, readers: tuple[Reader, ...], reference: Reference) -> tuple[float, str | None]:
    """Largest difference over all tools, and what is wrong if anything is."""
    largest = 0.0
    for reader in readers:
        try:
            difference = largest_difference(path, reader, reference)
        except WeightsError as e:
            return largest, str(e)
        if not difference <= TOLERANCE:
            return difference, (
                f'its output in {reader.name} differs from that of PyTorch by {difference:.2f} levels of 255, more '
                f'than {TOLERANCE:g}'
            )
        largest = max(largest, difference)
    return largest, None


def _publish(staged: Path, path: Path) -> None:
    """Give a file its name once it is on disk."""
    with open(staged, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(staged, path)
