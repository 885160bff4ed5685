"""What an export hands on about each file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportedFile:
    """A form that was asked for, and what became of it.

    Attributes:
        form: its name in `pdd_arch.export.forms.FORMS`.
        path: path of the file.
        bytes: size of the file; 0 where there is none.
        sha256: SHA-256 of the file.
        difference: largest difference from PyTorch's output, in levels of 255, over all tools that read it.
        read_by: names of those tools.
        note: what users must know of this file, such as the type of its input; may be empty.
        problem: why it was not written; None for one that was.
    """

    form: str
    path: Path
    bytes: int = 0
    sha256: str = ''
    difference: float = 0.0
    read_by: tuple[str, ...] = ()
    note: str = ''
    problem: str | None = None
