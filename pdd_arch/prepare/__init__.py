"""Published datasets, as they are downloaded, made ready for the option files; and a look at what they hold.

``layouts`` declares the datasets, ``locate`` finds their folders and pairs their images, ``verify`` reads every
file, ``write`` (with ``sub_images``) makes what training reads, ``job`` does these in turn.
``target_domain`` makes a dataset of HR photographs. ``inspect_sets`` and ``measures`` are behind ``pdd check``.
"""
