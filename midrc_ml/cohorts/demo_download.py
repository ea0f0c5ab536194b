"""The demo cohort as a download: the node TSVs, and one ZIP of DICOM files per series."""

from functools import partial
from pathlib import Path

from midrc_ml.cohorts.demo_ct import write_scan
from midrc_ml.cohorts.demo_films import LABEL, write_series
from midrc_ml.cohorts.demo_nodes import node_exports
from midrc_ml.cohorts.demo_patients import DemoPatients
from midrc_ml.cohorts.demo_scans import ct_scans
from midrc_ml.processes import num_cores, worker_pool

_POOL_FROM = 200  # series; below this, starting processes takes longer than it saves
_README = f"""{LABEL}

Written by `cohort=demo` of midrc_ml: node tables and DICOM files in the form of a MIDRC download.
Delete this folder at any time; it is written again, with the same bytes, when it is next needed.
"""


def write_download(patients: DemoPatients, root: Path) -> None:
    """Write the node TSVs and one ZIP per series below `root`."""
    root.mkdir(parents=True)
    films, scans = patients.films.to_dict("records"), ct_scans(patients).to_dict("records")
    film, scan = (partial(write, str(root / "images")) for write in (write_series, write_scan))
    if len(films) + len(scans) < _POOL_FROM:
        written = [*map(film, films), *map(scan, scans)]
    else:
        with worker_pool(num_cores()) as pool:
            # The slow ones first, so that the processes end together.
            of_scans, of_films = pool.map(scan, scans, chunksize=4), pool.map(film, films, chunksize=16)
            written = [*of_scans, *of_films]
    facts = {name: (str(size), checksum) for name, size, checksum in written}
    for name, frame in node_exports(patients).items():
        if name.endswith("_series_file"):
            frame = frame.assign(
                file_size=[facts[file][0] for file in frame["file_name"]],
                md5sum=[facts[file][1] for file in frame["file_name"]],
            )
        # Gen3's export quotes and escapes nothing, and joins cells by tabs.
        lines = ["\t".join(map(str, frame.columns)), *("\t".join(row) for row in frame.astype("str").to_numpy())]
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "README.txt").write_text(_README, encoding="utf-8")
