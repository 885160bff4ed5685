"""Networks in the forms that other tools read, each verified by running it there."""

from pdd_arch.export.forms import FORMS, Form
from pdd_arch.export.job import CARD, ExportedFile, export_model
from pdd_arch.export.verify import TOLERANCE

__all__ = ['CARD', 'FORMS', 'TOLERANCE', 'ExportedFile', 'Form', 'export_model']
