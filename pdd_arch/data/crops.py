"""Whether photographs are whole, and large enough for the crops that training takes."""

from pdd_arch.data.sources import ImageSource
from pdd_arch.errors import DataError, PDDError
from pdd_arch.utils.wording import shown


def validate_sources(gt: ImageSource, lq: ImageSource, gt_size: int, scale: int) -> None:
    """Looks at the header of every photograph.

    Args:
        gt: HR photographs, cropped to `gt_size`.
        lq: photographs of the target domain, cropped to `gt_size` over `scale`.
        gt_size: side of the HR crop in pixels, divisible by `scale`.
        scale: of super-resolution.

    Raises:
        DataError, MissingFileError: a photograph is missing, broken or smaller than its crop. Names the first, and
            counts the others.
    """
    for source, divisor in ((gt, 1), (lq, scale)):
        errors: dict[int, PDDError] = {}
        for i in range(len(source)):
            try:
                require_size(source, i, source.check(i), gt_size, scale, divisor)
            except PDDError as error:
                errors[i] = error
        if errors:
            first, *others = errors
            found, more = errors[first], ''
            if others:
                names = ', '.join(shown(source.path(i)) for i in others[:3]) + (', ...' if len(others) > 3 else '.')
                more = f' {len(others)} more of {len(source)} images cannot be used: {names}'
            raise found.within(source.key, ': ').with_fields(way_out=f'{found.way_out}{more}')


def require_size(
    source: ImageSource, index: int, size: tuple[int, int], gt_size: int, scale: int, divisor: int
) -> None:
    """Raises DataError where an image of `size` (height, width) does not hold a crop of `gt_size` over `divisor`."""
    side = gt_size // divisor
    if min(size) >= side:
        return
    largest = min(size) * divisor // scale * scale
    raise DataError(
        f'is {size[0]}x{size[1]} pixels (height x width), smaller than the {side}x{side} crop that '
        f'`datasets.train.gt_size: {gt_size}`{f" at scale {scale}" if divisor > 1 else ""} takes',
        where=shown(source.path(index)),
        way_out=f'Remove it{f", or lower gt_size to {largest} or less" if largest else ""}.',
    )
