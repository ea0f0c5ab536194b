"""Decode a cohort's images into the image cache, once; training and everything else then only reads.

python -m midrc_ml.prepare cohort=midrc cohort.root=/data/midrc                every film of the cohort
python -m midrc_ml.prepare cohort=midrc cohort.root=/data/midrc task=icu       those that the task has a label for
python -m midrc_ml.prepare cohort=midrc cohort.root=/data/midrc images.size=512 compute.num_processes=16
python -m midrc_ml.prepare cohort=midrc cohort.root=/data/midrc compute=ray    on the Ray cluster of this machine
python -m midrc_ml.prepare cohort=demo --check                                 hash every record that is there

It can be stopped at any moment and started again, and run on several machines at once over the same cache. A file that
cannot be used is recorded with its reason and counted, and never stops the others. Writes `prepared.json` (counts)
and, where there are any, `unusable.parquet` (files and reasons) into the folder that it prints.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from midrc_ml.command import run_composed
from midrc_ml.config import instantiated, save_config
from midrc_ml.errors import InputError
from midrc_ml.progress import size_text

log = logging.getLogger("midrc_ml.prepare")

_USED = ("cohort", "task", "images", "compute")


def main() -> None:
    """Run the verb with the process's arguments."""
    sys.argv = ["check=true" if argument == "--check" else argument for argument in sys.argv]
    run_composed(_run, doc=str(__doc__), config_name="prepare")


def _run(config: DictConfig, output_dir: Path) -> None:
    made = instantiated(OmegaConf.masked_copy(config, [name for name in _USED if name in config]))
    save_config(config, output_dir)
    prepare(**{"task": None, **made}, cache_dir=config.paths.cache_dir, check=bool(config.check), output_dir=output_dir)


def prepare(
    *, cohort: Any, task: Any, images: Any, compute: Any, cache_dir: str, check: bool, output_dir: Path
) -> dict[str, Any]:
    """Decode what is not in the cache yet, print the counts, and write them into `output_dir`.

    The arguments are the objects of the config groups of the same names; task: None = every image of the cohort that
    the recipe is for. check: hash every record of the recipe first; damaged ones are decoded again.

    Raises:
        InputError: nothing to read, or the disk is full.
    """
    from midrc_ml.cohorts.flow import CohortFlow
    from midrc_ml.images.cache import ImageCache

    if task is not None:
        task.check_modalities(images.modalities)
    cache = ImageCache(cache_dir=cache_dir, recipe=images)
    tables = cohort.read().with_files(cache.files_by_series())
    if task is None:
        series = images_of(tables.series, tables.studies, images.modalities)
    else:
        series = task.labelled_studies(tables, CohortFlow(origin=tables.origin))
    if series.empty:
        raise InputError(
            f"prepare: no series of {' or '.join(images.modalities)} has an image file in the {tables.origin}; "
            f"give the folder that holds them, or other images"
        )
    num_damaged = _forget_damaged(cache) if check else None
    files = list(series["file"])
    log.info("Preparing %d series of the %s as %s", len(files), tables.origin, images.key)
    found = cache.load(files, series=list(series["series_id"]), num_processes=compute.processes(), ray=compute.ray)
    reasons = pd.Series(list(found.reasons), dtype=object)
    rows = cache.index().set_index("file").reindex(cache.names(files))
    decoders = rows[reasons.isna().to_numpy()].groupby(["syntax", "decoder"]).size()
    counts = {
        "recipe": images.key,
        "series": len(files),
        "images": int(reasons.isna().sum()),
        "unusable": {str(reason): int(count) for reason, count in reasons.value_counts().items()},
        "decoders": [
            {"syntax": str(syntax), "decoder": str(decoder), "n": int(count)}
            for (syntax, decoder), count in decoders.items()
        ],
        "left_out": found.left_out,
        "repaired": found.repaired,
        "sources_gone": found.num_absent,
        "bytes": sum(path.stat().st_size for path in cache.folder.glob("*.u8")),
        "damaged": num_damaged,
    }
    (output_dir / "prepared.json").write_text(json.dumps(counts, indent=1) + "\n")
    if reasons.notna().any():
        unusable = series[["series_id", "file"]].assign(reason=list(found.reasons))
        unusable[unusable["reason"].notna()].to_parquet(output_dir / "unusable.parquet", index=False)
    for line in text_of(counts):
        log.info("%s", line)
    log.info("Cache: %s", cache.folder)
    log.info("Written: %s", output_dir)
    return counts


def images_of(series: pd.DataFrame, studies: pd.DataFrame, modalities: tuple[str, ...]) -> pd.DataFrame:
    """The series that have a file and are of one of `modalities`: by their own word, else by that of their study.

    Where neither says what it is, the image is taken.
    """
    of_study = series["study_id"].map(studies.set_index("study_id")["modality"])
    said = series["modality"].fillna(of_study)
    fits = said.isna() | said.fillna("").str.split(",").map(lambda names: bool({*names} & {*modalities}))
    return series[series["file"].notna() & fits].reset_index(drop=True)


def text_of(counts: dict[str, Any]) -> list[str]:
    """The counts as lines for the terminal."""
    from pydicom.uid import UID

    size = size_text(counts["bytes"])
    lines = [
        f"{counts['images']:,} of {counts['series']:,} series have an image; the cache of this recipe holds {size}"
    ]
    lines += [
        f"  {entry['n']:,} by {entry['decoder']}" + (f", {UID(entry['syntax']).name}" if entry["syntax"] else "")
        for entry in counts["decoders"]
    ]
    lines += [f"  {count:,} cannot be used: {reason}" for reason, count in counts["unusable"].items()]
    lines += [f"  {count:,} of the files in these series left out: {why}" for why, count in counts["left_out"].items()]
    lines += [f"  {count:,} {kind}" for kind, count in counts["repaired"].items()]
    if counts["sources_gone"]:
        lines.append(f"{counts['sources_gone']:,} image files are gone; what was decoded of them before is kept")
    if counts["damaged"] is not None:
        lines.append(f"{counts['damaged']:,} records were not what was written, and were decoded again")
    return lines


def _forget_damaged(cache: Any) -> int:
    damaged = cache.damaged()
    if len(damaged):
        log.warning("%d records are not what was written; they are decoded again", len(damaged))
        cache.forget(damaged)
    return len(damaged)


if __name__ == "__main__":
    main()
