"""Where results go."""

import json
import sys
from pathlib import Path


def publish(result: dict, text: str, file: Path | None) -> None:
    """Print a table; with a file also write the result there as JSON, and the table beside it."""
    sys.stdout.write(text)
    if file is not None:
        file.write_text(json.dumps(result, indent=1) + '\n')
        file.with_suffix('.md').write_text(text)
