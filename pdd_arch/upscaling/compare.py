"""One page that shows photographs before and after: input, generalist, and the network that was used."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.images.decoding import image_size
from pdd_arch.photo_files.reading import read_photo
from pdd_arch.report.html_page import write_page
from pdd_arch.report.page import Page, Picture, Version, as_rgb, read_rgb
from pdd_arch.upscaling.inputs import Item

#: page and folder of the generalist's outputs, in the folder of outputs
PAGE, FOLDER = 'compare.html', 'compare'


def write_comparison(
    path: Path, items: Sequence[Item], others: Sequence[Item], name: str, generalist: str
) -> tuple[int, list[str]]:
    """Write the page; returns how many photographs it shows, and what was reduced or left out for its size.

    An earlier page is replaced. `items` have the outputs of the network called `name`, `others` those of the one called
    `generalist`, of the same size; photographs that are not among both are left out.
    """
    if name == generalist:  # another file of the same name
        name, generalist = f'{name} (this model)', f'{generalist} (generalist)'
    theirs = {item.source: item.target for item in others}
    pictures = []
    for item in (item for item in items if item.source in theirs):
        height, width = image_size(item.target)
        versions = (
            Version('input, bicubic', 'bicubic', partial(_bicubic, item.source, height, width)),
            Version(generalist, 'row', partial(read_rgb, theirs[item.source]), row=generalist),
            Version(name, 'row', partial(read_rgb, item.target), row=name),
        )
        pictures.append(Picture(item.name, 'photographs', width, height, versions))
    page = Page(
        title=f'{name} and {generalist}',
        source=f'{len(pictures)} photographs, upscaled with both',
        metrics=(),
        rows=(),
        baseline=generalist,
        notes=['There is no ground truth for these photographs: look at them. Colour profiles are not applied.'],
        pictures=pictures,
    )
    return write_page(page, path)


def _bicubic(source: Path, height: int, width: int) -> np.ndarray:
    """A photograph of any kind, upscaled to `height` x `width` by bicubic interpolation, (height, width, 3) RGB."""
    return cv2.resize(as_rgb(read_photo(source).pixels), (width, height), interpolation=cv2.INTER_CUBIC)
