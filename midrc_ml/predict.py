"""Apply a finished run to other studies, with its preprocessing, calibration and threshold: an external test.

python -m midrc_ml.predict run=logs/icu/runs/<time> cohort=midrc cohort.root=/data/other
python -m midrc_ml.predict run=logs/icu/runs/<time> cohort=midrc cohort.root=/data/other labels=none   scores alone
python -m midrc_ml.predict run=logs/icu/runs/<time> dicom=/data/films                                   scores alone
python -m midrc_ml.predict run=logs/icu/runs/<time> cohort=demo overlap=drop       without the run's own patients

The task, the images, the clinical table and the model are those of the run and cannot be changed. Patients that the run
was trained on, or whose scores chose its epoch, are refused (`overlap`). Writes `predictions.parquet` (all of it part
`test`), `cohort_flow.json`, `audit.json` and, where labels are known, the report and its numbers into the folder
that it prints.
"""

import difflib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from midrc_ml.command import run_composed
from midrc_ml.config import CONFIG_FILE, instantiated, load_config, save_config, shareable_params
from midrc_ml.errors import InputError
from midrc_ml.training.ranks import Ranks

_GIVEN = ("run", "cohort", "dicom", "labels", "overlap", "unknown_age", "paths", "compute", "tracking", "hydra")
_NOT_TRAINED = "nothing is trained here"
_OF_RUN = {
    **dict.fromkeys(("task", "images", "clinical", "model"), "another one would be another model; train one"),
    **dict.fromkeys(("training", "algorithm", "seed", "experiment"), _NOT_TRAINED),
    **dict.fromkeys(
        ("evaluation", "fairness"), "midrc_ml.evaluate scores the predictions.parquet that is written here with others"
    ),
    "split": "every study here is of the part test",
    "resume": "there is nothing to resume; start it again",
    "compute.precision": "a network is applied as it was trained",
    **dict.fromkeys(("compute.compile", "compute.profile", "compute.num_workers"), _NOT_TRAINED),
}
_RULES = {"labels": ("needed", "none"), "unknown_age": ("leave_out", "keep")}
_DICOM_FOLDER = "midrc_ml.cohorts.dicom_folder.DicomFolder"


def main() -> None:
    """Run the verb with the process's arguments."""
    run_composed(_run, doc=str(__doc__), config_name="predict", instead=_check_arguments)


def _check_arguments(arguments: list[str]) -> bool:
    """Refuse what cannot be given, before anything is composed; tells Hydra's folder the task of the run."""
    task = "unknown"
    if "--hydra-help" not in arguments:
        if {"-m", "--multirun"} & set(arguments):
            raise InputError("predict applies one run to one cohort, and -m asks for several; start it once for each")
        if Ranks.of_environment().world > 1:
            raise InputError("predict is one process, and torchrun started several; start it without torchrun")
        given = _given(arguments)
        if not given.get("run"):
            raise InputError("give a run: run=FOLDER, which training printed (logs/<task>/runs/<time>)")
        if bool(given.get("cohort")) == bool(given.get("dicom")):
            raise InputError("give one of cohort=NAME (its studies) and dicom=FOLDER (every image below it)")
        task = str(load_config(run_folder_of(given["run"]), setting="run").task.name)
    OmegaConf.register_new_resolver("task_of_run", lambda: task, replace=True)
    return False


def _given(arguments: list[str]) -> dict[str, str]:
    """The overrides by key; "" for one that is null.

    Raises:
        InputError: one that is the run's own, or that there is not.
    """
    given = {}
    for argument in arguments:
        key, sign, value = argument.lstrip("+~").partition("=")
        if argument.startswith("-") or not (sign or argument.startswith("~")):
            continue
        key = key.partition("@")[0]
        group = key.partition(".")[0].partition("/")[0]
        why = _OF_RUN.get(key) or _OF_RUN.get(group)
        if why:
            raise InputError(f"{key} is the run's own and cannot be given to predict: {why}")
        if group not in _GIVEN:
            near = difflib.get_close_matches(group, _GIVEN, n=1)
            meant = f", did you mean {near[0]}?" if near else ""
            raise InputError(f"{key}: there is no such setting{meant}; predict takes {', '.join(_GIVEN)}")
        given[key] = "" if value in ("null", "???") else value.strip("'\"")
    return given


def run_folder_of(place: str) -> Path:
    """The folder of a run, which `place` is, or lies in: its report, its predictions, its checkpoints.

    Raises:
        InputError: there is no such place.
    """
    path = Path(place).expanduser().resolve()
    if not path.exists():
        raise InputError(
            f"run={place}: there is no such folder; give the one that a run printed (logs/<task>/runs/...)"
        )
    inside = (path, path.parent) if path.is_dir() else (path.parent, path.parent.parent)
    return next((folder for folder in inside if (folder / CONFIG_FILE).is_file()), path)


def _run(config: DictConfig, output_dir: Path) -> None:
    for name, allowed in _RULES.items():
        if config[name] not in allowed:
            raise InputError(f"{name} is {config[name]!r}; it must be one of {', '.join(allowed)}")
    is_labelled = config.labels == "needed" and not config.dicom
    if is_labelled and config.unknown_age == "keep":
        raise InputError("unknown_age=keep is for labels=none and dicom=...: a test is of those whom the task asks for")
    from midrc_ml.application import apply_run
    from midrc_ml.audits.overlap import check_overlap_rule
    from midrc_ml.finished_run import OF_RUN, FinishedRun

    check_overlap_rule(config.overlap)
    folder = run_folder_of(str(config.run))
    of_run = load_config(folder, setting="run")
    if config.dicom:
        root = str(Path(str(config.dicom)).expanduser().resolve())
        cohort: Any = {"_target_": _DICOM_FOLDER, "root": root, "cache_dir": config.paths.cache_dir}
    else:
        cohort = config.cohort
    used = OmegaConf.create(
        {
            "run": str(folder),
            "labels": "needed" if is_labelled else "none",
            **{name: config[name] for name in ("overlap", "unknown_age", "paths", "compute", "tracking")},
            "cohort": cohort,
            **{name: of_run[name] for name in (*OF_RUN, "training") if name in of_run},
        }
    )
    run = FinishedRun.read(folder, of_run)
    made = instantiated(OmegaConf.masked_copy(used, ["cohort", "compute", "tracking"]))
    save_config(used, output_dir)
    apply_run(
        run,
        **made,
        params=shareable_params(OmegaConf.masked_copy(used, ["cohort", "overlap", "labels"])),
        paths={str(name): value for name, value in config.paths.items()},
        is_labelled=is_labelled,
        overlap=config.overlap,
        keep_unknown_age=config.unknown_age == "keep",
        output_dir=output_dir,
    )


if __name__ == "__main__":
    main()
