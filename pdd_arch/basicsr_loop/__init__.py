"""Everything that bends BasicSR's own pipelines, version 1.4.2, in one place.

For good, by `install`:

==================================== ==================================================================================
``*.parse_options``                  loads YAML that runs code, applies ``--force_yml`` with ``exec``, checks nothing
``dist_util.init_dist``              nccl and ``torch.cuda.set_device`` are hard-wired: on the CPU every launcher fails
``train.train_pipeline``             cannot be stopped between two iterations, leaves no state when it fails
``train.train_pipeline``, ``test.*`` an error that ends a script of the user's own ends it in a traceback
``test.test_pipeline``               the best result of a test is its only one, of the iteration ``NAME``
``*ImageDataset.__init__``           splits lines of lists at spaces and names in an LMDB at dots, takes ``gt, lq`` and
                                     byte-order marks for names, holds LMDBs open
``*Dataset.__getitem__`` of images   an unreadable image ends in an error that does not name it; what is drawn for a
                                     sample depends on what its data worker has drawn before, and starts anew
                                     with each epoch
``BaseModel.save_network``,          written in place; a failed write is a warning; the state has no random generators,
``.save_training_state``             no position in the data, no best results
``BaseModel.load_network``,          run code in the file; errors name neither file nor option; assertions
``.resume_training``
``SRModel.nondist_validation``       all sets have all metrics; one that has no number for an image ends the run
``*.build_model``                    models put their parts on a GPU whatever ``num_gpu`` says; without one a model for
                                     videos changes the clip that it works on
==================================== ==================================================================================

For the duration of one ``train_pipeline``, each bound to its `TrainingRun`, which the options carry to the model:

==================================== ==================================================================================
``parse_options``                    the options have to carry the run
``copy_opt_file``                    would not have what ``--import`` adds, without which the copy cannot be run
``load_resume_state``                resumes on CUDA only, and from the current directory whatever the root is
``mkdir_and_rename`` (also of misc)  fails when it archived a folder of that name within the same second
``get_time_str``                     counts whole seconds: two logs of one second would be one
``init_wandb_logger``                takes project and resume_id only; its errors do not name the option
``init_tb_logger``                   curves of a resumed run would repeat what a killed run drew beyond its state
``create_train_val_dataloader``      rounds the iterations of an epoch up: runs end before ``total_iter``; no collate_fn
``EnlargedSampler``                  a resumed epoch starts from its first sample; samples do not know their position
``worker_init_fn`` (of basicsr.data) data workers would end by signals that are meant for the main process
``CPUPrefetcher``, ``CUDAPrefetcher`` start the loader twice, and again for empty epochs at the end; nobody is told how
                                     far it has come
``build_model``                      the run has to know its model; what was found while resuming goes to the log.
                                     Of the model: files of a checkpoint are written one by one; a validation has a
                                     number that goes on in the empty epochs at the end, and draws random numbers
the logger                           says that several validation sets are for ``SRModel`` only, also of one
``MessageLogger``                    the log is text only; here it is also recorded as data
``copy_opt_file``                    its copy of a file with a byte-order mark, or of one in UTF-8 where that is not the
                                     system's encoding, cannot be read
==================================== ==================================================================================
"""

from collections.abc import Callable

import basicsr.test
import basicsr.train
import basicsr.utils.dist_util
import basicsr.utils.options
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel

from pdd_arch.basicsr_loop.checkpoints import load_network, resume_training, save_network, save_training_state
from pdd_arch.basicsr_loop.datasets import drawing_by_position, naming_unreadable_images, reading_as_checked
from pdd_arch.basicsr_loop.devices import on_the_asked_device
from pdd_arch.basicsr_loop.pipeline import explained_if_uncaught, interruptible, without_best_results
from pdd_arch.basicsr_loop.validation import with_the_metrics_of_the_set
from pdd_arch.basicsr_options import parse_options
from pdd_arch.distributed import processes

_PLAIN = '__wrapped__'


def install(if_uncaught: Callable[[BaseException], None]) -> None:
    """Replace what BasicSR's pipelines and their callers look up. Doing it again is harmless.

    `if_uncaught` is called with an exception that leaves a pipeline, to provide for the case that nobody catches it.
    """
    for module in (basicsr.utils.options, basicsr.train, basicsr.test):
        module.parse_options = parse_options
    basicsr.utils.dist_util.init_dist = processes.init_dist
    if not hasattr(basicsr.train.train_pipeline, _PLAIN):
        basicsr.train.train_pipeline = explained_if_uncaught(interruptible(basicsr.train.train_pipeline), if_uncaught)
        basicsr.test.test_pipeline = explained_if_uncaught(
            without_best_results(basicsr.test.test_pipeline), if_uncaught
        )
    for method in (save_network, save_training_state, load_network, resume_training):
        setattr(BaseModel, method.__name__, method)
    if not hasattr(SRModel.nondist_validation, _PLAIN):
        SRModel.nondist_validation = with_the_metrics_of_the_set(SRModel.nondist_validation)
    for dataset in (PairedImageDataset, SingleImageDataset):
        if not hasattr(dataset.__init__, _PLAIN):
            dataset.__init__ = reading_as_checked(dataset.__init__)
    for dataset in (PairedImageDataset, SingleImageDataset, RealESRGANDataset, RealESRGANPairedDataset):
        if not hasattr(dataset.__getitem__, _PLAIN):
            dataset.__getitem__ = naming_unreadable_images(drawing_by_position(dataset.__getitem__))
    for pipeline in (basicsr.train, basicsr.test):
        if not hasattr(pipeline.build_model, _PLAIN):
            pipeline.build_model = on_the_asked_device(pipeline.build_model)
