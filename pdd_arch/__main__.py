"""``python -m pdd_arch train|test ...``: the same as the ``basicsr`` command."""

from pdd_arch.commands.basicsr_cli import entry_point

if __name__ == '__main__':
    entry_point()
