"""Weight files: reading, checks, atomic writing, key layouts of published code, published networks, downloads."""
