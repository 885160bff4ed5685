"""What a file is that lies where a weight file is expected: told by its content, whatever its name says."""

import pickletools
import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pdd_arch.errors import WeightsError
from pdd_arch.images.structure import format_of
from pdd_arch.utils.wording import show, shown

WEIGHT_SUFFIXES = ('.pth', '.safetensors', '.pt', '.ckpt', '.bin')
A_WEIGHT_FILE = 'a weight file (.pth or .safetensors)'
_HEAD = 4096
_UNPACK = 'Unpack it, and give what is in it.'
_EXPORTED = 'Take the .pth or .safetensors file that it was made from.'
_PACKED = rb'\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd'
#: beginning -> what it is, and what to do; '' stands for the advice to give another file
_BEGINNINGS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what, way_out)
    for pattern, what, way_out in (
        (
            rb'version https://git-lfs\.github\.com/spec/',
            'a Git LFS pointer, which only stands for the file',
            'Run `git lfs pull` in the repository, or download the file itself.',
        ),
        (
            rb'(\xef\xbb\xbf)?\s*<(!doctype html|html|head|!--)',
            'a web page (HTML)',
            'Download the file itself: the address leads to a page that shows it, or to an error.',
        ),
        (rb'(\xef\xbb\xbf)?\s*<\?xml', 'an XML document, perhaps the error message of a server', ''),
        # protobuf: field 1 is the version of the format, then producer or graph
        (
            rb'\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]',
            'an ONNX model (or another file of protobuf)',
            _EXPORTED,
        ),
        (rb'7767517\s', 'the .param file of an ncnn model', _EXPORTED),
        (rb'\x47\x6b\x30\x01|\x38\x4b\x0d\x00', 'the .bin file of an ncnn model', _EXPORTED),
        (rb'.{4}TFL3', 'a TensorFlow Lite model', _EXPORTED),
        (rb'ftrt', 'a TensorRT engine', _EXPORTED),
        (rb'GGUF', 'a GGUF model', ''),
        (rb'\x89HDF\r\n\x1a\n', 'an HDF5 file, such as Keras writes', ''),
        (rb'\x93NUMPY', 'a NumPy array', ''),
        (_PACKED, 'a packed archive', _UNPACK),
    )
)


def weight_format(file: Path, path: str | Path, where: str, instead: str = A_WEIGHT_FILE) -> str:
    """``safetensors``, ``zip`` (torch's format), or ``pickle`` (torch's old format, or what is not known).

    `path` is what the file was called by, `instead` what is wanted there. Raises WeightsError for a file that is
    recognised as something else, with what it is and what to do.
    """
    with file.open('rb') as stream:
        head = stream.read(_HEAD)
    if _is_safetensors(head, file.stat().st_size):
        return 'safetensors'
    found = _other_kind(file, head, f'Give {instead}.')
    if found is not None:
        what, way_out = found
        raise WeightsError(f'{path} cannot be read as weights: it is {what}', where=where, way_out=way_out)
    if zipfile.is_zipfile(file):
        return 'zip'
    of_torch = head.startswith((b'PK\x03\x04', b'\x80'))
    return 'safetensors' if file.suffix.lower() == '.safetensors' and not of_torch else 'pickle'


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes with the length of a JSON object, and that object."""
    return head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= size - 8


def _other_kind(file: Path, head: bytes, another: str) -> tuple[str, str] | None:
    """What a file is, if no weights, and the way out."""
    if not head:
        return 'empty (0 bytes)', 'Download or copy it again.'
    if not head.strip(b'\0'):
        return f'nothing but zero bytes at its beginning ({len(head)})', 'Download or copy it again.'
    for pattern, what, way_out in _BEGINNINGS:
        if pattern.match(head):
            return what, _beside(file) or way_out if way_out == _EXPORTED else way_out or another
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return _other_zip(file, archive.namelist(), another)
    if tarfile.is_tarfile(file):
        with tarfile.open(file) as members:
            return _tar(members.getnames(), another)
    if (image := format_of(head)) is not None:
        return f'an image ({image})', another
    return _text(head, another)


def _other_zip(file: Path, names: list[str], another: str) -> tuple[str, str] | None:
    ends = {name.partition('/')[2] for name in names}
    if 'constants.pkl' in ends:
        return 'a TorchScript archive, which holds a program', _beside(file) or _EXPORTED
    if ends & {'archive_format', 'serialized_exported_program.json'} or 'serialized_exported_program.json' in names:
        return 'a program of torch.export', _beside(file) or _EXPORTED
    if 'data.pkl' in ends:
        return None
    return f'a zip archive of {len(names)} files', _unpack(names, another)


def _tar(names: list[str], another: str) -> tuple[str, str]:
    if {'pickle', 'storages'} <= set(names):
        return (
            'of the format that torch had before 0.1.10, which cannot be read without running code from it',
            'Where you trust its origin, load it with torch.load and write its state dict with torch.save.',
        )
    return f'a tar archive of {len(names)} files', _unpack(names, another)


def _unpack(names: Iterable[str], another: str) -> str:
    inside = [name for name in names if name.lower().endswith(WEIGHT_SUFFIXES)]
    return f'Unpack it, and give {shown(inside[0])} from it.' if inside else another


def _text(head: bytes, another: str) -> tuple[str, str] | None:
    """A text file: UTF-8 without control characters, of which the last letter may be cut."""
    text = head.decode('utf-8', errors='ignore')
    if len(text.encode()) < len(head) - 3 or not all(c.isprintable() or c in '\t\r\n\f\ufeff' for c in text):
        return None
    if '"weight_map"' in text:
        way_out = 'Put the tensors of all the files that it names into one state dict, and save that.'
        return 'the index of weights that are divided into several files', way_out
    return f'a text file, which begins with {show(text.strip()[:40])}', another


def _beside(file: Path) -> str:
    """The advice to take the weight file that an exported one was made with, where that lies beside it."""
    stem = file.name.partition('.')[0].removesuffix('_fp16')
    found = [file.parent / f'{stem}{suffix}' for suffix in WEIGHT_SUFFIXES[:2]]
    return next((f'Take {shown(one)} beside it.' for one in found if one.is_file()), '')


def in_folder(folder: Path) -> str:
    """What a folder is, for a message about one that is given as a weight file: the way out."""
    if any((inner / 'data.pkl').is_file() for inner in (folder, *folder.glob('*/'))):
        return 'A .pth file was unpacked into it: give that file itself, as it was downloaded.'
    names = sorted(shown(f.name) for f in folder.iterdir() if f.suffix in WEIGHT_SUFFIXES)
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return f'Give the path of a weight file in it: {", ".join(names[:4])}{more}.' if names else f'Give {A_WEIGHT_FILE}.'


def pickled_object(file: Path) -> str | None:
    """Class of the object that a file of torch holds as a whole, such as a network; None for a dictionary or list.

    Its pickle is looked through without running anything of it. Raises what pickletools and zipfile do for damage.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            name = next(n for n in archive.namelist() if n.endswith('data.pkl'))
            with archive.open(name) as stream:
                return _root_class(stream)
    with file.open('rb') as stream:
        if stream.read(2) == b'\x80\x02':
            stream.seek(0)
            for _ in range(3):  # torch's old format: a magic number, a version and facts of the system before it
                for _operation in pickletools.genops(stream):
                    pass
            return _root_class(stream)
    return None


#: torch's old format puts a network with its source code into a tuple that begins with a word
_BEFORE_CLASS = ('PROTO', 'FRAME', 'MARK', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE')


def _root_class(stream: object) -> str | None:
    for operation, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
        if operation.name == 'GLOBAL':
            module, _, name = str(argument).partition(' ')
            return None if name == 'OrderedDict' or module.startswith('torch._utils') else f'{module}.{name}'
        if operation.name not in _BEFORE_CLASS:
            return None
    return None
