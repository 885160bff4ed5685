"""A sample index that knows its place in the run."""

from collections.abc import Iterable, Iterator


class PositionedIndex(int):
    """An ``int`` that carries the epoch and the position of the sample it stands for.

    A dataset that seeds its random draws with (seed, epoch, position) gives the same samples however many
    workers load them. To everything else this is the plain index.

    Attributes:
        epoch: number of the epoch, from 0.
        position: place in the epoch over all processes (``rank + world_size * place in this process``).
        place: place in the epoch in this process; `position` where it is not given.
    """

    epoch: int
    position: int
    place: int

    def __new__(cls, index: int, epoch: int, position: int, place: int | None = None) -> 'PositionedIndex':
        self = super().__new__(cls, index)
        self.epoch, self.position = int(epoch), int(position)
        self.place = self.position if place is None else int(place)
        return self

    def __reduce__(self) -> tuple[type, tuple[int, int, int, int]]:
        # the way to a worker is pickle, which would make a plain copy of an int subclass
        return type(self), (int(self), self.epoch, self.position, self.place)

    def __repr__(self) -> str:
        return f'PositionedIndex({int(self)}, epoch={self.epoch}, position={self.position})'


def positioned(
    indices: Iterable[int], epoch: int, rank: int = 0, world_size: int = 1, start: int = 0
) -> Iterator[PositionedIndex]:
    """Gives each index of process `rank` its epoch and its position over all processes; the first has place `start`."""
    for place, index in enumerate(indices, start):
        yield PositionedIndex(index, epoch, rank + world_size * place, place)
