"""Weight files: reading, atomic writing, key layouts of published code, published networks, downloads."""
