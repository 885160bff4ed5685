"""Image files: names, structure and decoding, with errors that name the file."""
