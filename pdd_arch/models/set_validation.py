"""The validation of one set: its own metrics, and what has gone wrong with which image."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

from torch.utils.data import DataLoader

from pdd_arch.errors import OptionError
from pdd_arch.metrics.assignment import metrics_of_set, needs_ground_truth
from pdd_arch.metrics.measuring import value_of

#: key of a set's options: its images are saved in a folder of their own, for another set has some of the same name
OWN_FOLDER = 'own_folder'


class SetValidation:
    """A validation set as BasicSR's models validate it: instead of the loader, which it stands for.

    Args:
        loader: a `DataLoader` of the set, an image at a time.
        opt: BasicSR's whole option dictionary.

    Attributes:
        metrics: those of ``val.metrics`` that the set is measured with.
        options: `opt` with these metrics alone, for the duration of the validation.

    Raises:
        OptionError: see `metrics_of_set`.
    """

    def __init__(self, loader: Any, opt: dict[str, Any]) -> None:  # any: torch knows no `opt` of datasets
        self.dataset, self._loader = loader.dataset, loader
        section, val = self.dataset.opt, opt.get('val') or {}
        self.name: str = section['name']
        self.metrics = metrics_of_set(val.get('metrics'), section, f'datasets.{self.name}')
        self.options = copy(opt)
        self.options['val'] = {**val, 'metrics': self.metrics or None}
        if section.get(OWN_FOLDER):
            folder = os.path.join(opt['path']['visualization'], self.name)
            self.options['path'] = {**opt['path'], 'visualization': folder}
        self._image = ''  # that was handed out last
        self._images: Counter[str] = Counter()
        self._without_number: dict[str, list[str]] = {}  # metric -> images, and why

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for item in self._loader:
            self._image = os.path.splitext(os.path.basename(item['lq_path'][0]))[0]
            self._images[self._image] += 1
            yield item

    def measure(self, images: Mapping[str, Any], options: Mapping[str, Any]) -> float:
        """In the place of BasicSR's ``calculate_metric``: NaN for an image that the metric has no number for.

        Raises:
            OptionError: the metric compares with a ground truth, which the image has not.
        """
        name = next(name for name, own in self.options['val']['metrics'].items() if own is options)
        if 'img2' not in images and needs_ground_truth(options):
            raise OptionError(
                f'{options["type"]} compares with a ground truth, which {self._image} of the set {self.name} has not',
                where=f'val.metrics.{name}',
                way_out='List the metrics that this set can be measured with in its section, under `metrics`.',
            )
        value, reason = value_of(options, images['img'], images.get('img2'))
        if reason:
            self._without_number.setdefault(name, []).append(f'{self._image}: {reason}')
        return value

    def problems(self, save_img: bool) -> Iterator[str]:
        """What the log has to say of a validation that has come to its end, a sentence each."""
        for name, images in self._without_number.items():
            yield (
                f'Validation {self.name}: {name} has no number for {len(images)} of {self._images.total()} images (the '
                f'first: {images[0]}), so there is no mean.'
            )
        if save_img and (same := [name for name, count in self._images.items() if count > 1]):
            yield (
                f'Validation {self.name}: several images are called {same[0]}'
                + (f' ({len(same) - 1} more names are used twice)' if same[1:] else '')
                + '; of those only the last is saved. Give them different names.'
            )


def give_own_folders(loaders: list[DataLoader[Any]]) -> list[str]:
    """Let sets that share names of images save them in folders of their own; gives the names of these sets.

    BasicSR saves images of all sets as ``visualization/IMAGE/IMAGE_ITERATION.png``: one would replace the other.
    """
    datasets: list[Any] = [loader.dataset for loader in loaders]
    names = [_names(dataset) for dataset in datasets]
    counts = Counter(name for own in names for name in own)
    sharing = [d.opt for d, own in zip(datasets, names, strict=True) if any(counts[name] > 1 for name in own)]
    for section in sharing:
        section[OWN_FOLDER] = True
    return [section['name'] for section in sharing]


def _names(dataset: Any) -> set[str]:
    """Names under which the images of one of BasicSR's datasets are saved; of others they are not known."""
    paths = getattr(dataset, 'paths', ())
    found = (path.get('lq_path') if isinstance(path, dict) else path for path in paths)
    return {os.path.splitext(os.path.basename(path))[0] for path in found if isinstance(path, str)}
