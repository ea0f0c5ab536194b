"""Pairs of images side by side, as a picture for whoever checks them. It shows films: it stays in the run's folder."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from midrc_ml.audits.films.windows import Images, flat_picture

_PAIRS_A_ROW, _INCHES, _DPI = 2, 2.1, 110
_CAPTION_CHARACTERS = 52


def draw_pairs(
    images: Images,
    pairs: pd.DataFrame,
    path: Path,
    *,
    captions: Sequence[str],
    others: Images | None = None,
    most: int = 12,
) -> None:
    """Write the first `most` pairs of `near_duplicates` as PNG, each with its caption.

    captions: one a pair; they hold no patient's values. others: where the second of each pair lies, if not in `images`.
    A volume is shown as it is compared, by its mean along the slices.
    """
    shown = pairs.head(most)
    num_rows = max(1, -(-len(shown) // _PAIRS_A_ROW))
    figure = Figure(figsize=(2 * _PAIRS_A_ROW * _INCHES, num_rows * (_INCHES + 0.55)), dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(num_rows, _PAIRS_A_ROW, hspace=0.3, wspace=0.08)
    for place, (first, second) in enumerate(zip(shown["first"], shown["second"], strict=True)):
        axes = figure.add_subplot(grid[divmod(place, _PAIRS_A_ROW)])
        axes.imshow(_beside(_picture(images, first), _picture(others or images, second)), cmap="gray", vmin=0, vmax=255)
        axes.set_title("\n".join(textwrap.wrap(captions[place], _CAPTION_CHARACTERS)), fontsize=7)
        axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


def _picture(images: Images, position: int) -> np.ndarray:
    return flat_picture(images.gather(np.array([position]))[0])


def _beside(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Both in one array, a white line between; the lower of two is centred."""
    height = max(len(first), len(second))
    parts = [
        np.pad(each, (((height - len(each)) // 2, (height - len(each) + 1) // 2), (0, 0))) for each in (first, second)
    ]
    return np.concatenate([parts[0], np.full((height, max(1, height // 60)), 255, np.uint8), parts[1]], axis=1)
