"""Values of a wrong type in an option file of the released code."""

import pytest
from test_convert_options import released

from pdd_arch.errors import OptionError
from pdd_arch.options.convert import convert_options


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        (dict(scale=[4]), 'scale: .4., expected a whole number'),
        (dict(network_g=dict(type=['RRDBNet'])), r'network_g\.type: .*expected a name'),
        (dict(datasets=dict(val=dict(type=[1]))), r'datasets\.val\.type: \[1\], expected a name'),
        (dict(path=dict(ignore_resume_networks=True)), r'path\.ignore_resume_networks: True, expected a list'),
        (dict(train=dict(use_net_g_ema='yes')), r"train\.use_net_g_ema: 'yes', expected true or false"),
        (dict(val=dict(metrics=dict(psnr=dict(type=[1])))), r'val\.metrics\.psnr\.type: \[1\], expected a name'),
    ],
)
def test_values_of_a_wrong_type_are_named(changes, told):
    with pytest.raises(OptionError, match=told):
        convert_options(released(**changes))
