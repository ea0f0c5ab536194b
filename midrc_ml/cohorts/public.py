"""What the readers of public collections share: where the files lie, and tables read as text."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from midrc_ml.errors import InputError, TableError


def public_folder(data_dir: str | None, name: str, *, source: str) -> Path:
    """`<data_dir>/<name>`, where the collection `name` lies. source: where to download it from.

    Raises:
        InputError: no such folder.
    """
    if not data_dir:
        raise InputError(
            f"cohort={name} reads public files from paths.data_dir, which is not set; "
            f"set MIDRC_ML_DATA to the folder that holds {name}/, or give paths.data_dir=FOLDER"
        )
    folder = Path(data_dir).expanduser().resolve() / name
    if not folder.is_dir():
        raise InputError(f"cohort={name}: no folder {folder}; download it from {source}, or set MIDRC_ML_DATA")
    return folder


def read_text_table(path: Path, *, columns: Sequence[str], source: str, skip_lines: int = 0) -> pd.DataFrame:
    """A CSV with every cell as text ("" where empty), `None` and `000` as they stand.

    columns: those that must be there. skip_lines: lines before the header.

    Raises:
        TableError: no such file, not a CSV, or a column is not there.
    """
    again = f"download {source} again and take its table as it is"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skiprows=skip_lines)
    except FileNotFoundError as error:
        raise TableError([f"no {path}; {again}"]) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        # The parser's own words may hold a cell of the table.
        raise TableError([f"{path.name}: not a readable CSV ({type(error).__name__}); {again}"]) from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise TableError(
            [f"{path.name}: no column {', '.join(absent)} (it has {len(table.columns)} columns); {again}"]
        )
    return table
