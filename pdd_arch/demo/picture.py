"""The comparison picture that ends the demo."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pdd_arch.demo.photographs import SCALE, TEST_REGIONS

# layout of the comparison picture, in its pixels
DETAIL = 160  # side of the part of a photograph that is shown, HR pixels
ZOOM = 2
GAP = 16
MARGIN = 40
HEADER = 132
CAPTION = 34
PAPER, INK, FAINT, MARK = (255, 255, 255), (28, 28, 30), (120, 120, 126), (0, 122, 92)


def _rgb(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))


def comparison_picture(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    outputs: dict[str, dict[str, np.ndarray]],
    scores: dict[str, dict[str, list[float]]],
    subtitle: str,
) -> Image.Image:
    """A page of details: a row for each image, columns LR input, generalist, adapted network, photograph.

    `pairs` are (LR, HR) and `outputs` by method, uint8 BGR; of the `scores` of each image the first is its PSNR.
    """
    title_font, label_font, text_font = (ImageFont.load_default(size) for size in (34, 21, 18))
    side = DETAIL * ZOOM
    heads = ('LR input (unknown camera)', 'Generalist', 'Adapted', 'Ground truth (never seen)')
    width = 2 * MARGIN + len(heads) * side + (len(heads) - 1) * GAP
    height = MARGIN + HEADER + len(pairs) * (side + CAPTION + GAP) + MARGIN // 2
    page = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 6), 'Adapting a super-resolution network to one camera (x4)', INK, title_font)
    draw.text((MARGIN, MARGIN + 42), subtitle, FAINT, text_font)
    lefts = [MARGIN + i * (side + GAP) for i in range(len(heads))]
    for left, head in zip(lefts, heads, strict=True):
        draw.text((left, MARGIN + HEADER - 12), head, MARK if head == 'Adapted' else INK, label_font, 'ls')

    for row, (region, (x, y)) in enumerate(TEST_REGIONS.items()):
        name = region.name
        lr, hr = pairs[name]
        top = MARGIN + HEADER + row * (side + CAPTION + GAP)
        small = lr[y // SCALE : (y + DETAIL) // SCALE, x // SCALE : (x + DETAIL) // SCALE]
        cells = [_rgb(small).resize((side, side), Image.Resampling.NEAREST)]
        for image in (outputs['generalist'][name], outputs['adapted'][name], hr):
            cell = _rgb(image[y : y + DETAIL, x : x + DETAIL])
            cells.append(cell.resize((side, side), Image.Resampling.BICUBIC))
        psnr = {method: images[name][0] for method, images in scores.items()}
        gain = psnr['adapted'] - psnr['generalist']
        captions = (
            f'bicubic: {psnr["bicubic"]:.2f} dB',
            f'{psnr["generalist"]:.2f} dB',
            f'{psnr["adapted"]:.2f} dB  ({gain:+.2f})',
            'PSNR of the whole image',
        )
        for column, (left, cell, caption) in enumerate(zip(lefts, cells, captions, strict=True)):
            page.paste(cell, (left, top))
            color = (FAINT, INK, MARK, FAINT)[column]
            draw.text((left, top + side + 24), caption, color, text_font, 'ls')
    return page
