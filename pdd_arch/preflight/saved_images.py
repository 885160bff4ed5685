"""Checks of the images that a validation saves."""

import os
from pathlib import Path

from pdd_arch.data.paired_check import open_pair, open_single
from pdd_arch.errors import DataError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.metrics import validated_sets
from pdd_arch.utils.files import is_name_too_long
from pdd_arch.utils.wording import shown


def check_saved_names(options: RunOptions) -> None:
    """With ``val.save_img``, BasicSR's name for each image of a validation is one that the file system takes.

    A training saves ``IMAGE/IMAGE_ITERATION.png``, a test ``SET/IMAGE_NAME.png`` or ``SET/IMAGE_SUFFIX.png``.

    Raises:
        DataError: a name is too long; a validation would end the run.
    """
    opt = options.for_basicsr()
    val = opt.get('val') or {}
    if not val.get('save_img'):
        return
    end = str(opt['train']['total_iter']) if options.is_train else val.get('suffix') or opt['name']
    for phase, dataset in validated_sets(options).items():
        if dataset.get('type') not in ('PairedImageDataset', 'SingleImageDataset'):
            continue
        where, pairs = f'datasets.{phase}', dataset['type'] == 'PairedImageDataset'
        source = open_pair(dataset, where)[1] if pairs else open_single(dataset, where)
        for index, name in enumerate(source.names):
            stem = os.path.splitext(os.path.basename(name))[0]
            saved = Path(options.output_folder, f'{stem}_{end}.png')
            if is_name_too_long(saved):
                raise DataError(
                    f'would be saved under a name too long for the file system ({len(os.fsencode(saved.name))} bytes)',
                    where=f'{where}: {shown(source.path(index))}',
                    way_out='Give the image a shorter name, or set val.save_img: false.',
                )
