"""What a run reads of its studies: images from the cache, the clinical table, and what an audit asks of both."""

import logging
from collections.abc import Callable, Mapping

import pandas as pd

from midrc_ml.audits.rivals import Studies
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.datasets.clinical_table import ClinicalTable
from midrc_ml.errors import InputError
from midrc_ml.images.build import ImageRecipe
from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.tasks.task import Task
from midrc_ml.training.settings import Compute

log = logging.getLogger(__name__)


def image_cache(images: ImageRecipe, paths: Mapping[str, str]) -> ImageCache:
    """The cache of a recipe."""
    return ImageCache(cache_dir=paths["cache_dir"], recipe=images)


def cached_images(
    asked: pd.DataFrame,
    images: ImageRecipe | None,
    compute: Compute,
    paths: Mapping[str, str],
    before: Callable[[], None] = lambda: None,
) -> CachedImages | None:
    """The images of these studies, in their order; None where no pixel is read. before: called if some are decoded."""
    if images is None:
        return None
    return image_cache(images, paths).load(
        list(asked["file"]),
        series=list(asked["series_id"]),
        num_processes=compute.processes(),
        ray=compute.ray,
        before=before,
    )


def clinical_rows(clinical: ClinicalTable, tables: Tables, studies: pd.DataFrame, flow: CohortFlow) -> pd.DataFrame:
    """What the clinical table says of these studies, with its notes told and in `flow`."""
    notes: list[str] = []
    table = clinical.read(tables, studies, notes=notes)
    flow.notes += notes
    for note in notes:
        log.info("Note: %s", note)
    return table


def with_images(studies: pd.DataFrame, cached: CachedImages, task: Task, flow: CohortFlow) -> pd.DataFrame:
    """Studies whose image can be read, with its position in `cached`; the others are counted by reason."""
    reasons = pd.Series(list(cached.reasons), index=studies.index, dtype=object)
    notes = [f"{count} of the files in these series left out: {why}" for why, count in cached.left_out.items()]
    notes += [f"{count} {kind}" for kind, count in cached.repaired.items()]
    if cached.num_absent:
        notes.append(f"{cached.num_absent} image files are gone; their images were decoded before, and are used")
    flow.notes += notes
    for note in notes:
        log.info("Note: %s", note)
    readable = flow.step("image readable", studies.assign(image=range(len(studies))), reasons)
    if readable.empty:
        counts = reasons.value_counts()
        told = "; ".join(f"{count} {reason}" for reason, count in counts.items())
        raise InputError(f"images: none of the {len(studies)} studies has an image that can be used: {told}")
    flow.count_labels(readable, kind=task.kind, classes=task.classes)
    return readable


def audited(
    studies: pd.DataFrame, tables: Tables, task: Task, images: CachedImages | None, table: pd.DataFrame | None
) -> Studies:
    """The studies with what an audit holds a model against. Files are asked for their size and form alone."""
    from midrc_ml.images.film_facts import film_facts  # with pydicom

    has_files = "file" in studies and studies["file"].notna().any()
    facts = film_facts([file if isinstance(file, str) else "" for file in studies["file"]]) if has_files else None
    return Studies(rows=studies, tables=tables, task=task, images=images, facts=facts, clinical=table)
