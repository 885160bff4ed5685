"""Wrong option files for each kind of model of BasicSR and Real-ESRGAN, and for classes of the user's own."""

import sys

import pytest
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from other_models import TINY_G, assert_refused, basicsr, changed, data, place, right_file  # noqa: F401

from pdd_arch.utils import user_modules

IMAGES = dict(type='PairedImageDataset', dataroot_gt='hr', dataroot_lq='lr', io_backend=dict(type='disk'))
PERCEPTUAL = dict(type='PerceptualLoss', layer_weights={'conv5_4': 1.0})
TOGETHER = 'network_d, train.optim_d and train.gan_opt belong together'
ADAM_ONLY = "but BasicSR's models know Adam only"

ESRGAN = {
    'no discriminator': ({'network_d': ...}, ['network_d: missing, ESRGANModel trains with a discriminator', TOGETHER]),
    'no optimizer': ({'train.optim_d': ...}, ['train.optim_d: missing', TOGETHER]),
    'no adversarial loss': ({'train.gan_opt': ...}, ['train.gan_opt: missing', TOGETHER]),
    'kind of adversarial loss': ({'train.gan_opt.gan_type': 'vanila'}, ['train.gan_opt: GANLoss', 'type vanila']),
    'argument of the loss': ({'train.gan_opt.loss_wieght': 1}, ['loss_wieght: GANLoss', "mean 'loss_weight'"]),
    'loss on pixels': ({'train.gan_opt': dict(type='L1Loss')}, ['train.gan_opt.type: L1Loss is no adversarial loss']),
    'adversarial loss on pixels': (
        {'train.pixel_opt': dict(type='GANLoss', gan_type='vanilla')},
        ['train.pixel_opt.type: GANLoss does not belong here. Put it into train.gan_opt'],
    ),
    'discriminator for other crops': (
        {'network_d': dict(type='VGGStyleDiscriminator', num_in_ch=3, num_feat=4, input_size=128)},
        ['network_d: VGGStyleDiscriminator does not take the images of 32x32', 'gt_size: 128 it works'],
    ),
    'type of discriminator': ({'network_d.type': 'UNetDiscriminator'}, ["Did you mean 'UNetDiscriminatorSN'"]),
    'argument of it': ({'network_d.num_feats': 3}, ['network_d.num_feats', "Did you mean 'num_feat'"]),
    'channels of it': ({'network_d.num_in_ch': 1}, ['network_d: UNetDiscriminatorSN does not take', '1 channels']),
    'weights of it': ({'path.pretrain_network_d': 'fits.pth'}, ['path.pretrain_network_d: fits.pth does not fit UNet']),
    'optimizer of it': ({'train.optim_d.type': 'SGD'}, [f"train.optim_d.type: 'SGD', {ADAM_ONLY}"]),
    'no rate': ({'train.optim_d.lr': ...}, ['train.optim_d.lr: missing']),
    'every 0th iteration': ({'train.net_d_iters': 0}, ['train.net_d_iters: expected a whole number of at least 1']),
    'count as text': ({'train.net_d_init_iters': '0'}, ['train.net_d_init_iters: expected a whole number', "'0'"]),
    'loss of artefacts': ({'train.ldl_opt': dict(type='L1Los')}, ['train.ldl_opt.type: no loss', "mean 'L1Loss'"]),
}
SWINIR = {
    'no window_size': ({'network_g.window_size': ...}, ['network_g.window_size: missing, SwinIRModel needs it']),
    'window': ({'network_g.window_size': 3}, ['network_g: SwinIR does not take the images of 8x8', 'gt_size: 48 it']),
    'another network': ({'network_g': TINY_G}, ['network_g.window_size: missing, SwinIRModel needs it']),
    'argument': ({'network_g.img_sze': 8}, ["network_g.img_sze: SwinIR has no such option. Did you mean 'img_size'"]),
    'heads': ({'network_g.num_heads': [3]}, ['network_g: SwinIR does not take the images']),
    'depths': ({'network_g.depths': [1, 1]}, ['network_g: SwinIR cannot be built with these options']),
    'depths as text': ({'network_g.depths': '6'}, ['network_g: SwinIR cannot be built with these options']),
    'upsampler': ({'network_g.upsampler': 'pixel_shuffle'}, ['becomes 16x16, but scale is 4']),
    'connection': ({'network_g.resi_connection': '2conv'}, ['network_g', "no attribute 'conv_after_body'"]),
    'upscale': ({'network_g.upscale': 2}, ['network_g.upscale: 2, but scale is 4']),
    'crop': ({'datasets.train.gt_size': 24}, ['network_g: SwinIR does not take the images of 6x6', 'gt_size: 32 it']),
    'size as text': ({'network_g.embed_dim': '60'}, ["network_g.embed_dim: expected a number, found '60'"]),
}
REAL_ESRNET = {
    'no sharpening': ({'gt_usm': ...}, ['gt_usm: missing']),
    'switch as text': ({'gt_usm': 'True'}, ["gt_usm: expected true or false, found 'True'"]),
    'no degradation': ({'jpeg_range2': ...}, ['jpeg_range2: missing']),
    'weights': ({'resize_prob': [0.2, 0.7]}, ['resize_prob: expected three weights']),
    'percent': ({'gaussian_noise_prob': 50}, ['gaussian_noise_prob: expected a probability from 0 to 1, found 50']),
    'kernel': ({'datasets.train.kernel_list': ['isotropic'] * 6}, ['datasets.train.kernel_list[0]: expected']),
    'no list': ({'datasets.train.meta_info': ...}, ['datasets.train.meta_info: missing, expected a text file']),
    'list of nothing': ({'datasets.train.meta_info': 'no.txt'}, ['datasets.train.meta_info: the file no.txt']),
    'list of other names': ({'datasets.train.meta_info': 'names.txt'}, ['meta_info, line 2', "found 'nobody.png'"]),
    'crop': ({'gt_size': 33}, ['gt_size: expected a multiple of the scale 4 from 26 to 400, found 33']),
    'queue': (
        {'queue_size': 3, 'datasets.train.batch_size_per_gpu': 2},
        ['queue_size: expected a multiple of the 2 images of a step'],
    ),
    'pairs': (
        {'datasets.train.type': 'PairedImageDataset', 'datasets.train.dataroot_lq': 'lr'},
        ['datasets.train.type: PairedImageDataset gives pairs, but RealESRNetModel makes the LR images itself'],
    ),
    'network': ({'network_g.scale': 2}, ['network_g.scale: 2, but scale is 4']),
}
PAIRS_OF_REAL_ESRGAN = {'high_order_degradation': False, 'datasets.train.type': 'RealESRGANPairedDataset'}
REAL_ESRGAN = {
    'no switch': ({'l1_gt_usm': ...}, ['l1_gt_usm: missing']),
    'misspelt switch': (
        {'percep_gt_usm': ..., 'perceptual_gt_usm': True},
        ["percep_gt_usm: missing. Did you mean 'perceptual_gt_usm'"],
    ),
    'no discriminator': ({'network_d': ...}, ['network_d: missing, RealESRGANModel', TOGETHER]),
    'no adversarial loss': ({'train.gan_opt': ...}, ['train.gan_opt: missing', TOGETHER]),
    'weights of another network': ({'path.pretrain_network_g': 'other.pth'}, ['other.pth does not fit RRDBNet']),
    'order of a range': ({'noise_range': [30, 1]}, ['noise_range', 'the first not larger, found [30, 1]']),
    'no kernel': ({'datasets.train.final_sinc_prob': ...}, ['datasets.train.final_sinc_prob: missing']),
    'no flips': ({'datasets.train.use_hflip': ...}, ['datasets.train.use_hflip: missing']),
    'pairs without LR images': (PAIRS_OF_REAL_ESRGAN, ['datasets.train.dataroot_lq: missing']),
    'pairs of nowhere': (
        PAIRS_OF_REAL_ESRGAN | {'datasets.train.dataroot_lq': 'lrr', 'datasets.train.meta_info': ...},
        ['datasets.train.dataroot_lq: the folder lrr does not exist', "mean 'lr'"],
    ),
    'argument of a loss': (
        {'train.perceptual_opt': dict(type='PerceptualLoss', layer_weigths={'conv5_4': 1})},
        ["train.perceptual_opt.layer_weigths: PerceptualLoss has no such option. Did you mean 'layer_weights'"],
    ),
}
VIDEO = {
    'even number of frames': ({'datasets.train.num_frame': 4}, ['datasets.train.num_frame: REDSDataset', 'odd number']),
    'frames of the network': (
        {'network_g.num_frame': 5},
        ['train: VideoBaseModel fails in a training step', '20 chan'],
    ),
    'no key for the flow': ({'datasets.train.dataroot_flow': ...}, ['datasets.train.dataroot_flow: missing, REDSData']),
    'no interval': ({'datasets.train.interval_list': ...}, ['datasets.train.interval_list: missing, REDSDataset']),
    'partition': ({'datasets.train.val_partition': 'REDS5'}, ['datasets.train.val_partition: REDSDataset', 'REDS5']),
    'no list': ({'datasets.train.meta_info_file': 'no.txt'}, ['meta_info_file: the file no.txt does not exist']),
    'short lines': (
        {'datasets.train.meta_info_file': 'reds_short.txt'},
        ['datasets.train.meta_info_file: REDSDataset'],
    ),
    'folder without clips': (
        {'datasets.train.dataroot_lq': 'hr'},
        ['datasets.train: REDSDataset cannot read its', '001'],
    ),
    'large crop': ({'datasets.train.gt_size': 64}, ['LQ (8, 8) is smaller than patch size (16, 16)']),
    'crop of the network': ({'datasets.train.gt_size': 24}, ['fails in a training step', 'multiple of 4']),
    'name of the test set': ({'datasets.val.name': 'mine'}, ['datasets.val.name: expected the benchmark', "'reds4'"]),
    'padding': ({'datasets.val.padding': 'mirror'}, ['datasets.val.padding: VideoTestDataset', 'Wrong padding mode']),
    'no cache': ({'datasets.val.cache_data': ...}, ['datasets.val.cache_data: missing, VideoTestDataset needs it']),
    'other frames': ({'datasets.val.dataroot_gt': 'reds_gt'}, ['datasets.val: VideoTestDataset', 'lq (3) and gt']),
    'saved images': (
        {'val.save_img': True},
        ['val.save_img: true, but VideoBaseModel saves no images during training'],
    ),
    'no metrics': ({'val.metrics': ...}, ['val.metrics: missing, VideoBaseModel needs it']),
    'images for validation': ({'datasets.val': IMAGES}, ['datasets.val: VideoBaseModel fails with its first sample']),
    'network for images': ({'network_g': TINY_G}, ['train: VideoBaseModel fails in a training step', '1, 3, 3, 8, 8']),
}
STYLE_GAN = {
    'no regularisation': ({'train.r1_reg_weight': ...}, ['train.r1_reg_weight: missing, StyleGAN2Model needs it']),
    'no mixing': ({'train.mixing_prob': ...}, ['train.mixing_prob: missing, StyleGAN2Model needs it']),
    'no discriminator': ({'network_d': ...}, ['network_d: missing, StyleGAN2Model', TOGETHER]),
    'validation data': (
        {'datasets.val': IMAGES, 'scale': 4},
        ['datasets.val: given, but StyleGAN2Model validates with'],
    ),
    'no validation': ({'val': ...}, ['val: missing, StyleGAN2Model needs it']),
    'no mean': ({'datasets.train.mean': ...}, ['datasets.train.mean: missing, FFHQDataset needs it']),
    'images on disk': (
        {'datasets.train.dataroot_gt': 'hr', 'datasets.train.io_backend': dict(type='disk')},
        ['datasets.train.dataroot_gt: 70000 of the 70000 images', 'the first is 00000000.png'],
    ),
    'no LMDB': ({'datasets.train.dataroot_gt': 'face.lmdb'}, ['datasets.train.dataroot_gt', "mean 'faces.lmdb'"]),
    'folder for an LMDB': ({'datasets.train.dataroot_gt': 'hr'}, ['datasets.train.dataroot_gt: FFHQDataset', '.lmdb']),
    'backend': ({'datasets.train.io_backend.type': 'lmbd'}, ['datasets.train.io_backend.type', "mean 'lmdb'"]),
    'no size': ({'network_g.out_size': ...}, ['network_g.out_size: missing, StyleGAN2Generator needs it']),
    'argument': ({'network_g.num_style_feats': 8}, ['num_style_feats: StyleGAN2Generator has no', "'num_style_feat'"]),
    'kind of loss': ({'train.gan_opt.gan_type': 'softplus'}, ['train.gan_opt: GANLoss cannot be built', 'softplus']),
    'optimizer': ({'train.optim_g.type': 'RMSprop'}, [f"train.optim_g.type: 'RMSprop', {ADAM_ONLY}"]),
}
HI_FACE_GAN = {
    'average': ({'train.ema_decay': 0.9}, ['train.ema_decay: HiFaceGANModel cannot be built', 'does not support EMA']),
    'no loss': ({'train.pixel_opt': ...}, ['train: no loss to train with', 'HiFaceGANModel needs one']),
    'no discriminator': ({'network_d': ...}, ['network_d: missing, HiFaceGANModel', TOGETHER]),
    'no adversarial loss': ({'train.gan_opt': ...}, ['train.gan_opt: missing', TOGETHER]),
    'no optimizer': ({'train.optim_d': ...}, ['train.optim_d: missing', TOGETHER]),
    'kind of loss': ({'train.gan_opt.gan_type': 'hing'}, ['train.gan_opt: MultiScaleGANLoss', 'type hing']),
    'loss of one scale': ({'train.gan_opt.type': 'GANLoss'}, ['train: HiFaceGANModel fails in a training step']),
    'large crop': ({'datasets.train.gt_size': 128}, ['faces/000.png: is 64x64 pixels', 'gt_size: 128']),
    'size as text': ({'network_g.crop_size': '64'}, ["network_g.crop_size: expected a number, found '64'"]),
    'norm': ({'network_g.norm_g': 'spectralspade'}, ['network_g: HiFaceGAN cannot be built with these options']),
    'channels': ({'network_d.num_in_ch': 1}, ['train: HiFaceGANModel fails in a training step', 'have 4 channels']),
    'scale': ({'scale': 4}, ['These two fit scale 1']),
    'features': ({'train.perceptual_opt': dict(type='PerceptualLoss')}, ['perceptual_opt.layer_weights: missing']),
    'argument': ({'network_d.num_dd': 2}, ['network_d.num_dd: HiFaceGANDiscriminator has no', "mean 'num_d'"]),
}
OWN = {
    'no option of its own': ({'train.strength': ...}, ['train.strength: missing, MySRModel needs it']),
    'wrong value': ({'train.strength': None}, ['train.strength: my_model.py line 11: TypeError']),
    'step': ({'train.fails': True}, ['train: my_model.py line 16: ValueError: the strength is too large']),
    'optimizer': ({'train.optim_g.type': 'AdamX'}, ['train.optim_g: my_model.py line 20: AttributeError', "'AdamX'"]),
    'argument of it': ({'train.optim_g.momentum': 0.9}, ['train.optim_g: my_model.py line 20: TypeError', 'momentum']),
    'argument of a loss': ({'train.pixel_opt': dict(type='MyLoss', powr=2)}, ['powr: MyLoss has no', "mean 'power'"]),
    'kind of its value': ({'train.pixel_opt': dict(type='MyLoss', power='2')}, ['pixel_opt.power: expected a number']),
    'argument of a metric': ({'val.metrics.mine': dict(type='my_metric')}, ['mine.crop_border: missing, my_metric']),
    'metric': ({'val.metrics.mine': dict(type='mymetric')}, ['val.metrics.mine.type', "Did you mean 'my_metric'"]),
    'schedule': ({'train.scheduler.type': 'Cosine'}, ["train.scheduler.type: unknown schedule 'Cosine'"]),
    'no module': ({'import': ['nowhere.py']}, ['import: nowhere.py does not exist']),
    'model': ({'model_type': 'MySRModle'}, ['model_type: no model', "Did you mean 'MySRModel'"]),
    'folder': ({'datasets.train.dataroot_gt': 'none'}, ['datasets.train.dataroot_gt: the folder none does not exist']),
}
WRONG = {
    'ESRGANModel': ESRGAN,
    'SwinIRModel': SWINIR,
    'RealESRNetModel': REAL_ESRNET,
    'RealESRGANModel': REAL_ESRGAN,
    'VideoBaseModel': VIDEO,
    'StyleGAN2Model': STYLE_GAN,
    'HiFaceGANModel': HI_FACE_GAN,
    'MySRModel': OWN,
}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test imports and registers is unknown to the next."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(user_modules, '_files', set())
    yield
    sys.modules.pop('my_model', None)
    for registry, name in ((MODEL_REGISTRY, 'MySRModel'), (LOSS_REGISTRY, 'MyLoss'), (METRIC_REGISTRY, 'my_metric')):
        registry._obj_map.pop(name, None)


@pytest.mark.parametrize(('model', 'case'), [(model, case) for model, cases in WRONG.items() for case in cases])
def test_wrong(place, capfd, model, case):  # noqa: F811
    changes, words = WRONG[model][case]
    assert_refused(basicsr(changed(right_file(model), changes), '--check'), capfd.readouterr(), words)


RIGHT = {
    'SRGANModel': '',
    'ESRGANModel': '',
    'SwinIRModel': '',
    'RealESRNetModel': '',
    'RealESRGANModel': '',
    'EDVRModel': 'the samples of datasets.train but the first of 100, the samples of datasets.val but the first of 3',
    'HiFaceGANModel': '',
    'MySRModel': '',
}


@pytest.mark.parametrize('model', RIGHT)
def test_right(place, capfd, model):  # noqa: F811
    assert basicsr(right_file(model), '--check') == 0, capfd.readouterr().err
    unchecked = f'; not checked: {RIGHT[model]}' if RIGHT[model] else ''
    last = capfd.readouterr().out.splitlines()[-1]
    parts = 'options, networks, weights, data and a training step'
    assert last == f'No error found in {parts}{unchecked}; nothing was written.'


def test_what_needs_the_compiled_extension(place, capfd):  # noqa: F811
    from basicsr.ops import fused_act

    if hasattr(fused_act.fused_act, 'fused_act_ext'):
        pytest.skip('BasicSR was compiled with its extension')
    words = ["model_type: StyleGAN2Model needs BasicSR's compiled CUDA extension fused_act_ext", 'BASICSR_EXT=True']
    assert_refused(basicsr(right_file('StyleGAN2Model'), '--check'), capfd.readouterr(), words)


#: keys that a class of the user's own does not read: said where one is a misspelling, as its source may not show all
UNREAD = {
    'emadecay': "WARNING:        train.emadecay: MySRModel reads no such key. Did you mean 'ema_decay'?",
    'strenght': "WARNING:        train.strenght: MySRModel reads no such key. Did you mean 'strength'?",
    'something_else': '',
}


@pytest.mark.parametrize('key', UNREAD)
def test_keys_of_own_classes(place, capfd, key):  # noqa: F811
    assert basicsr(changed(right_file('MySRModel'), {f'train.{key}': 0.5}), '--check') == 0
    assert [line for line in capfd.readouterr().out.splitlines() if 'WARNING' in line] == [UNREAD[key]] * bool(
        UNREAD[key]
    )


def test_own_class_may_know_more_optimizers(place, capfd):  # noqa: F811
    opt = changed(right_file('MySRModel'), {'train.optim_g': dict(type='SGD', lr=0.1, momentum=0.9)})
    assert basicsr(opt, '--check') == 0, capfd.readouterr().err


OWN_HABITS = """
import os

import numpy as np
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY


@DATASET_REGISTRY.register()
class NumberedDataset(PairedImageDataset):
    def __getitem__(self, index):
        return super().__getitem__(index) | {'index': index, 'weight': np.float32(0.5)}


@MODEL_REGISTRY.register()
class HabitsModel(SRModel):
    def __init__(self, opt):
        if opt['train'].get('earlier'):
            open(os.path.join(opt['path']['experiments_root'], opt['train']['earlier'])).close()
        for folder in ('experiments_root', 'models', 'training_states', 'visualization'):
            with open(os.path.join(opt['path'][folder], 'note.txt'), 'w') as note:
                note.write('begun')
        super().__init__(opt)

    def feed_data(self, data):
        super().feed_data(data)
        if 'index' in data:
            assert data['index'].shape == data['weight'].shape == self.lq.shape[:1]

    def optimize_parameters(self, current_iter):
        super().optimize_parameters(current_iter)
        assert self.output.detach().numpy().std(0).shape == self.output.shape[1:]
        assert len(self.lq) > 1, 'a batch of more than one is compared'
"""


@pytest.fixture
def habits(place, tmp_path, monkeypatch):  # noqa: F811
    """An option file of classes whose ways are allowed in BasicSR, in a folder of its own."""
    for name in ('hr', 'lr'):
        (tmp_path / name).symlink_to(place / name)
    (tmp_path / 'habits.py').write_text(OWN_HABITS)
    monkeypatch.chdir(tmp_path)
    opt = changed(right_file('SRModel'), {'model_type': 'HabitsModel', 'datasets.train.type': 'NumberedDataset'})
    yield opt | {'import': ['habits.py']}
    sys.modules.pop('habits', None)
    DATASET_REGISTRY._obj_map.pop('NumberedDataset', None)
    MODEL_REGISTRY._obj_map.pop('HabitsModel', None)


def test_own_class_writes_looks_at_values_and_gets_whole_batches(habits, tmp_path, capfd):
    """Its step is tried without a trace in the folders of the run, whose files it would replace."""
    notes = tmp_path / 'experiments' / 'tiny'
    notes.mkdir(parents=True)
    (notes / 'note.txt').write_text('of an earlier run')
    before = set(tmp_path.rglob('*'))
    assert basicsr(habits, '--check') == 0, capfd.readouterr().err
    assert 'not checked: steps of HabitsModel with more than two images' in capfd.readouterr().out
    assert (notes / 'note.txt').read_text() == 'of an earlier run'
    made = {path for path in tmp_path.rglob('*') if '__pycache__' not in path.parts}
    assert made - before == {tmp_path / 'run.yml'}


def test_what_own_class_reads_of_an_earlier_run_is_not_an_error(habits, capfd):
    habits['train']['earlier'] = 'history.txt'
    assert basicsr(habits, '--check') == 0, capfd.readouterr().err
    assert 'not checked: a training step of HabitsModel, which reads what was written' in capfd.readouterr().out


#: (model, entry of its training data, whether a warning is due): what published files have is no news where it is true
OF_PUBLISHED_FILES = [
    ('SRModel', ('use_shuffle', True), False),
    ('SRModel', ('use_shuffle', False), True),
    ('RealESRNetModel', ('gt_size', 32), False),
    ('RealESRNetModel', ('gt_size', 40), True),
]


@pytest.mark.parametrize(('model', 'entry', 'warns'), OF_PUBLISHED_FILES)
def test_keys_of_published_files_that_nobody_reads(place, capfd, model, entry, warns):  # noqa: F811
    key, value = entry
    opt = changed(right_file(model), {f'datasets.train.{key}': value})
    assert model == 'SRModel' or opt['gt_size'] == 32
    assert basicsr(opt, '--check') == 0, capfd.readouterr().err
    assert (f'datasets.train.{key}: ' in capfd.readouterr().out) == warns
