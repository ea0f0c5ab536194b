"""Train one model for one task, evaluate it, and track it.

python -m midrc_ml.train task=icu                       the synthetic demo cohort
python -m midrc_ml.train task=icu cohort=midrc cohort.root=/data/midrc
python -m midrc_ml.train -m task=icu seed=0,1,2         one run each
python -m midrc_ml.train resume=logs/icu/runs/<time>    go on with a run that was cut off
torchrun --nproc-per-node 4 -m midrc_ml.train task=icu  on several GPUs: one run
python -m midrc_ml.train task=icu --cfg job             every setting with its value
python -m midrc_ml.train --hydra-help                   Hydra's own flags
"""

import inspect
import logging
import socket
import sys
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from midrc_ml.command import run_composed, stop
from midrc_ml.config import composed, explain_hydra_error, instantiated, load_config, save_config, shareable_params
from midrc_ml.datasets.lean_monai import keep_whole
from midrc_ml.errors import InputError
from midrc_ml.training.ranks import Ranks

log = logging.getLogger("midrc_ml.train")  # also where the module runs as __main__

_LET_THE_FIRST_SPEAK = 60  # seconds


def main() -> None:
    """Run the verb with the process's arguments."""
    try:
        ranks = Ranks.of_environment()
    except InputError as error:
        stop(str(error))
    if ranks.world > 1 and {"-m", "--multirun"} & set(sys.argv):
        stop("torchrun starts the processes of one run, and -m asks for several runs; start them one by one")
    if ranks.is_first:
        run_composed(_run, doc=str(__doc__), config_name="train", instead=_resumed)
    else:
        _train_along(sys.argv[1:], ranks)


def _train_along(arguments: list[str], ranks: Ranks) -> None:
    """What a process of torchrun does that is not the first."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        folder = _resumed_folder(arguments)
        config = load_config(folder) if folder is not None else composed("train", arguments)
        from midrc_ml.pipeline import train_along

        known = inspect.signature(train_along).parameters
        settings = {name: value for name, value in instantiated(config).items() if name in known}
        train_along(**settings, ranks=ranks)
    except (InputError, HydraException, OmegaConfBaseException, OSError) as error:
        time.sleep(_LET_THE_FIRST_SPEAK)  # where it meets the same error, torchrun ends all when it has ended
        said = explain_hydra_error(error, arguments) if isinstance(error, HydraException) else str(error)
        stop(f"process {ranks.rank} on {socket.gethostname()}: {' '.join(said.split())}")


def _run(config: DictConfig, output_dir: Path, *, resumed: bool = False) -> None:
    from midrc_ml.pipeline import train_and_evaluate

    if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        keep_whole()
    settings = instantiated(config)
    settings.pop("resume")
    known = set(inspect.signature(train_and_evaluate).parameters) - {"ranks", "output_dir", "params"}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise InputError(f"{', '.join(unknown)}: there is no such setting; `task=... --cfg job` lists them all")
    if type(settings["seed"]) is not int or settings["seed"] < 0:
        raise InputError(f"seed is {settings['seed']!r}; it must be a whole number of at least 0")
    if not resumed:
        save_config(config, output_dir)
    ranks = Ranks.of_environment()
    train_and_evaluate(**settings, ranks=ranks, output_dir=output_dir, params=shareable_params(config))


def _resumed(arguments: list[str]) -> bool:
    folder = _resumed_folder(arguments)
    if folder is not None:
        _resume(folder)
    return folder is not None


def _resumed_folder(arguments: list[str]) -> Path | None:
    """The folder of `resume=...`; any other override beside it is refused by name."""
    resumes = [argument for argument in arguments if argument.lstrip("+").startswith("resume=")]
    given = [argument.partition("=")[2] for argument in resumes]
    if not given or given[-1] in ("", "null"):
        return None
    others = [argument for argument in arguments if argument not in resumes]
    if others:
        raise InputError(
            f"resume continues a run as it was started, so {', '.join(others)} cannot be given with it; "
            f"leave it out, or start a new run without resume"
        )
    return Path(given[-1]).expanduser().resolve()


def _resume(folder: Path) -> None:
    from midrc_ml.reporting.run_folder import RunFolder

    config = load_config(folder)
    _log_as_hydra_does(folder)
    if RunFolder(folder).is_finished:
        log.info("The run in %s is finished; there is nothing to resume. Report: %s", folder, folder / "report.html")
        return
    _run(config, folder, resumed=True)


def _log_as_hydra_does(folder: Path) -> None:
    """What Hydra's logging config does for a new run: plain lines on the terminal, times in train.log."""
    plain, timed = logging.StreamHandler(sys.stdout), logging.FileHandler(folder / "train.log")
    plain.setFormatter(logging.Formatter("%(message)s"))
    timed.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    for handler in (plain, timed):
        logging.getLogger().addHandler(handler)
    logging.getLogger("midrc_ml").setLevel(logging.INFO)


if __name__ == "__main__":
    main()
