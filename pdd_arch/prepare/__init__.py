"""Published datasets, as they are downloaded, made ready for the option files; and a look at what they hold.

``layouts`` declares the datasets, ``locate`` finds their folders and pairs their images, ``verify`` reads every
file, ``write`` (with ``sub_images`` and ``lmdb_file``) makes what training reads, ``run`` does these in turn.
``inspect_sets`` and ``measures`` are behind ``pdd check``.
"""
