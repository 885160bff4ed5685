"""What classes read of their options: by their source, and by asking dictionaries that know their keys."""

import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from basicsr.data.reds_dataset import REDSDataset
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from other_models import basicsr, changed, data, place, right_file  # noqa: F401

from pdd_arch.errors import MissingOptionError
from pdd_arch.options.read_keys import keys_read_by
from pdd_arch.options.tracked import Asked, TrackedOptions
from pdd_arch.utils.wording import edit_distance


class Reader(SRModel):
    """Reads in all ways that are understood."""

    def __init__(self, opt):
        train = opt['train']
        section = train.get('section')
        self.found = 'asked' in train and section['inner']
        section.pop('popped', None)

    def test(self):
        other = self.somewhere
        return other['name_alone']


def test_keys_by_source():
    read = keys_read_by(Reader)
    own = {('train', 'section', 'inner'), ('train', 'asked'), ('train', 'section', 'popped')}
    assert own <= read.paths
    assert ('train', 'ema_decay') in read.paths  # of SRModel
    assert 'name_alone' in read.names
    assert read.reads(('val', 'name_alone'))
    assert not read.reads(('val', 'ema_decay'))


def test_keys_of_published_classes():
    assert ('train', 'gan_opt') in keys_read_by(SRGANModel).paths
    assert ('train', 'gan_opt') not in keys_read_by(SRModel).paths
    assert {('network_d',), ('path', 'param_key_d')} <= keys_read_by(SRGANModel).paths
    assert {('dataroot_flow',), ('interval_list',), ('use_hflip',)} <= keys_read_by(REDSDataset).paths


def test_options_that_know_their_keys():
    asked = Asked()
    opt = deepcopy(TrackedOptions({'train': {'optim_g': {'type': 'Adam'}}}, asked))
    assert opt['train']['optim_g'].pop('type') == 'Adam'
    assert asked.last == ('train', 'optim_g', 'type')
    for access in (lambda: opt['train']['optim_d'], lambda: opt['train'].pop('optim_d')):
        with pytest.raises(MissingOptionError) as found:
            access()
        assert found.value.where == 'train.optim_d'
        assert isinstance(found.value, KeyError)
    assert opt['train'].get('optim_d') is None
    assert dict(**opt['train']) == {'optim_g': {}}


@pytest.mark.parametrize(
    ('one', 'other', 'distance'), [('', 'ab', 2), ('emadecay', 'ema_decay', 1), ('abc', 'cab', 2), ('same', 'same', 0)]
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance


@pytest.mark.parametrize('model', ['ESRGANModel', 'RealESRNetModel'])
def test_a_check_leaves_no_trace(place, model):  # noqa: F811
    """Nothing is drawn from the generators, written, or left replaced in torch and BasicSR."""
    opt, files = changed(right_file(model), {'manual_seed': 1}), {*place.rglob('*')} | {place / 'run.yml'}
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    functions = torch.nn.Module.to, torch.nn.Module.cuda, torch.hub.download_url_to_file
    assert basicsr(opt, '--check') == 0
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert {*place.rglob('*')} == files
    assert (torch.nn.Module.to, torch.nn.Module.cuda, torch.hub.download_url_to_file) == functions
