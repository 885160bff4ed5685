"""The optimizers that can be trained with: those of ``torch.optim`` that need nothing but a gradient."""

import torch

from pdd_arch.errors import OptionError
from pdd_arch.options.schema import Optimizer
from pdd_arch.options.signatures import check_keywords, check_kinds
from pdd_arch.utils.wording import did_you_mean

#: classes of torch.optim that need more than a gradient, or are no optimizer
_UNSUITABLE = ('Optimizer', 'LBFGS', 'SparseAdam')


def optimizer_class(kind: str, where: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim`` that an optimizer section names.

    Args:
        kind: ``type`` of the section.
        where: key of the section, for the error: ``train.optim_g``.

    Raises:
        OptionError: there is none of that name, or it does not work on gradients alone.
    """
    known = {name: cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name not in _UNSUITABLE}
    if kind not in known:
        raise OptionError(
            f'unknown optimizer {kind!r}',
            where=f'{where}.type',
            expected='a class of torch.optim that works on gradients alone, for example Adam',
            way_out=did_you_mean(kind, known).strip(),
        )
    return known[kind]


def check_optimizer(options: Optimizer, where: str) -> None:
    """The optimizer of a section exists and takes the options given.

    Raises:
        OptionError: naming the key.
    """
    optimizer = optimizer_class(options.type, where)
    given = options.given()
    given.pop('type')
    check_keywords(where, options.type, optimizer, given, filled=('params',))
    check_kinds(where, optimizer, given)
    try:
        optimizer([torch.nn.Parameter(torch.zeros(2, 2))], **given)
    except Exception as e:  # whatever an optimizer makes of wrong values
        raise OptionError(f'{options.type}: {" ".join(str(e).split())[:200]}', where=where) from None
