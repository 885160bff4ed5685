"""File names of images."""

IMAGE_EXTENSIONS = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.bmp', '.dib', '.tif', '.tiff', '.webp'),
    *('.jp2', '.ppm', '.pgm', '.pbm', '.pnm'),
)


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)
