"""Writing a network in several forms into a folder."""

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.export.forms import ExportedFile, Form, chosen_forms
from pdd_arch.export.model_card import adaptation_of, facts_of, model_card
from pdd_arch.export.verify import Reference, is_real_esrgan_network, verified_difference
from pdd_arch.inference.load import ADAPTATION, ADAPTED_MODEL, LoadedNetwork, load_network
from pdd_arch.utils.atomic import flush, write_text, writing
from pdd_arch.utils.files import sha256_of
from pdd_arch.utils.wording import shown

CARD = 'MODEL_CARD.md'


def export_model(
    model: str | Path,
    folder: str | Path,
    forms: Sequence[str] = ('all',),
    *,
    verify: str | Path | None = None,
    side: int = 128,
    overwrite: bool = False,
    on_file: Callable[[ExportedFile], None] = lambda file: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[ExportedFile]:
    """Write a network in other forms, run each with the tools it is for, and describe them in ``MODEL_CARD.md``.

    A file gets its name only when every such tool has read it and agrees with PyTorch within 1 level of 255 on
    photographs of several sizes, odd ones among them. A form that fails does not keep the others from being written.

    Returns what was written, in the order of `FORMS`.

    Args:
        model: as for `pdd_arch.inference.load_network`.
        forms: names in `pdd_arch.export.forms.FORMS`, or ``all``.
        verify: photograph or folder of photographs (LR) to compare on; None: some that come with scikit-image.
        side: largest side of the windows compared, in LR pixels, 16 at least; 0: whole photographs.
        on_file: called after every form, also one that failed.
        say: called with a sentence when a prefix is removed from the names in a weight file.

    Raises:
        OptionError: a form is unknown or its packages are not installed, or a file exists: nothing has been written.
        MissingFileError, DataError: model or photographs do not exist or cannot be read, or the folder not be written.
        WeightsError: the model cannot be read; or, after all others have been written, a form has failed.
    """
    wanted = chosen_forms(forms)
    if side < 16 and side != 0:
        raise OptionError(where='--verify-size', expected='a whole number of at least 16, or 0', found=repr(side))
    network = load_network(model)
    for note in network.notes:
        say(note)
    if network.name.encode(errors='ignore').decode() != network.name:  # the files get this name, and hold it
        raise OptionError(f'the name {shown(network.name)} is not UTF-8', where='model', way_out='Rename it.')
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError('is a file; expected a folder', where=f'-o {shown(folder)}')
    paths = {name: folder / f'{network.name}{form.suffix}' for name, form in wanted.items()}
    _check_targets([*paths.values(), folder / CARD], network, overwrite)
    adaptation = adaptation_of(network)
    reference = Reference(network, verify, side)
    files = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.pdd-export-', dir=folder) as stage:
            for name, form in wanted.items():
                files.append(_export(name, form, paths[name], Path(stage), reference))
                on_file(files[-1])
    written = [file for file in files if file.problem is None]
    if written:
        write_text(folder / CARD, model_card(reference, written, adaptation))
    failed = [f'{file.form}: {file.problem}' for file in files if file.problem is not None]
    if failed:
        others = f'Written and verified: {", ".join(file.form for file in written)}.' if written else ''
        raise WeightsError(f'not written: {"; ".join(failed)}', way_out=others)
    return files


def _check_targets(paths: Sequence[Path], network: LoadedNetwork, overwrite: bool) -> None:
    existing = [path for path in paths if path.exists()]
    what = ''
    for path in existing:
        if path.samefile(network.file):
            what = f'{shown(path)} is the model itself, which is never replaced'
        elif path.name == ADAPTED_MODEL and (path.parent / ADAPTATION).exists():
            what = f'{shown(path)} is a model of `pdd adapt`, which is never replaced'
    if what:
        raise OptionError(what, where='-o', way_out='Choose another folder.')
    if existing and not overwrite:
        names = ', '.join(shown(path.name) for path in existing)
        what = f'{shown(existing[0].parent)} holds {names} already'
        raise OptionError(what, where='-o', way_out='Choose another folder, or give --overwrite.')


def _export(name: str, form: Form, path: Path, stage: Path, reference: Reference) -> ExportedFile:
    staged, network = stage / path.name, reference.network
    readers = tuple(tool for tool in form.readers if tool != 'RealESRGANer' or is_real_esrgan_network(network))
    problems = []
    for note, write in form.candidates.items():
        try:
            with warnings.catch_warnings():
                # of numbers too small or too large for float16: the verification shows whether they matter
                warnings.filterwarnings('ignore', module='onnxruntime')
                write(network, staged, facts_of(network))
            difference = verified_difference(staged, readers, reference)
        except WeightsError as error:
            problem = error
        except OSError:
            raise
        except Exception as error:  # an exporter that does not know an operation of the network
            reason = ' '.join(str(error).split())[:200]
            problem = WeightsError(f'cannot be made of {type(network.net).__name__} ({type(error).__name__}: {reason})')
        else:
            digest, size = sha256_of(staged), staged.stat().st_size
            flush(staged)
            os.replace(staged, path)
            return ExportedFile(name, path, size, digest, difference, readers, note)
        problems.append(str(problem.within(note)))
    if path.exists():
        problems.append(f'the earlier {shown(path.name)} is untouched')
    return ExportedFile(name, path, problem='; '.join(problems))
