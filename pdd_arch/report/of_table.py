"""A page out of the folder that `pdd tables` writes: `table.json` and the images it names."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from pdd_arch.errors import MissingFileError
from pdd_arch.report.page import ImageFolder, Output, Page, make_picture, some_of
from pdd_arch.report.scores import Row
from pdd_arch.report.table_file import TABLE, Dataset, Table, read_table
from pdd_arch.utils.wording import shown


def page_of_table(path: Path) -> Page:
    """The page of a table, given by its folder or by ``table.json``; images that are not there are named on it.

    Raises:
        MissingFileError, DataError: there is no table, it is not what `pdd tables` writes, or an image is broken.
    """
    file = path / TABLE if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError('there is no such file', where=shown(file), way_out='Write it with `pdd tables`.')
    table = read_table(file)
    page = Page(
        title=table.title,
        source=file.resolve().parent.name,
        metrics=table.metrics,
        rows=table.rows,
        baseline=table.baseline,
        notes=list(table.notes),
    )
    if table.baseline is None:
        page.problems.append('The table names no baseline, so there are no gains to sort by.')
    page.problems += table.reasons()
    for dataset in dict.fromkeys(row.dataset for row in table.rows):
        rows = [row for row in table.rows if row.dataset == dataset]
        _say_what_is_missing(dataset, rows, page)
        _add_pictures(dataset, rows, table, file.parent, page)
    if any(len(row.seeds) > 1 and any(seed.outputs for seed in row.seeds) for row in table.rows):
        page.notes.append(
            'Where a row has several seeds, the images are those of the first; scores are means over all.'
        )
    return page


def _images(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(image for row in rows for seed in row.seeds for image in seed.scores))


def _say_what_is_missing(dataset: str, rows: Sequence[Row], page: Page) -> None:
    """Means over different images are not comparable: that must not be found out by chance."""
    images = set(_images(rows))
    for row in rows:
        if not any(seed.scores for seed in row.seeds):
            page.problems.append(f'{dataset}, {row.name}: has no scores.')
            continue
        for seed in row.seeds:
            missing = sorted(images - set(seed.scores))
            if missing:
                page.problems.append(
                    f'{dataset}, {row.name}, seed {seed.seed}: has scores of {len(seed.scores)} of {len(images)} '
                    f'images (not {some_of(missing)}); its mean is over other images than that of the other rows.'
                )


def _find_folder(text: str, table: Path, option: str, page: Page) -> ImageFolder | None:
    """A folder that the table names: relative to the table, else to the current folder."""
    given = Path(text).expanduser()
    try:
        return ImageFolder(table / given if (table / given).is_dir() else given, option)
    except MissingFileError as error:
        page.problems.append(f'Images are not shown: {error}')
        return None


def _add_pictures(dataset: str, rows: Sequence[Row], table: Table, folder: Path, page: Page) -> None:
    options = asdict(table.datasets.get(dataset, Dataset()))
    sources = {k: _find_folder(v, folder, f'datasets.{dataset}.{k}', page) for k, v in options.items() if v}
    written = []
    for row in rows:
        seed = next((s for s in row.seeds if s.outputs), None)
        if seed and seed.outputs:
            label = f'{row.name} (seed {seed.seed})' if len(row.seeds) > 1 else row.name
            written.append((row, seed, label, folder / seed.outputs))
        elif row.seeds and not row.reference:
            page.notes.append(f'{dataset}, {row.name}: the table names no images.')
    missing: dict[str, list[str]] = {}
    for image in _images(rows):
        path = PurePosixPath(image.replace('\\', '/'))
        if path.is_absolute() or '..' in path.parts:
            page.problems.append(f'{dataset}: no image is shown for {image!r}, which is not a name inside the folder.')
            continue
        found = {key: source.find(image) for key, source in sources.items() if source}
        for key, location in found.items():
            if location is None:
                missing.setdefault(f'datasets.{dataset}.{key}', []).append(image)
        outputs = []
        for row, seed, label, where in written:
            file = where / f'{image}.png'
            if file.is_file():
                outputs.append(Output(label, row.name, file))
            elif image in seed.scores:
                missing.setdefault(f'{dataset}, {row.name}', []).append(image)
        picture = make_picture(image, dataset, found.get('lq'), found.get('gt'), outputs, page.problems)
        if picture:
            page.pictures.append(picture)
    page.problems += [f'{what}: no image of {some_of(names)}.' for what, names in missing.items()]
