"""Typed sections for classes that BasicSR builds from a dictionary."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from pdd_arch.options.messages import validated
from pdd_arch.options.schema import ValOptions


class ValSection(ValOptions):
    """``val`` of a model that is built without BasicSR's validation loop, which alone needs ``save_img``."""

    model_config = ConfigDict(extra='ignore')

    save_img: bool = False


def val_options(opt: Mapping[str, Any]) -> ValSection:
    """The ``val`` section of BasicSR's whole option dictionary; all defaults where there is none.

    Raises:
        OptionError: naming the key.
    """
    return validated(ValSection, opt.get('val') or {}, 'val')
