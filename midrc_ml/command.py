"""What every verb that Hydra composes does with its command line, and how it stops with one sentence."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from midrc_ml.config import (
    check_choices,
    choices,
    explain_hydra_error,
    make_places_absolute,
    register,
    shipped_folder,
)
from midrc_ml.errors import InputError

EXIT_INPUT = 2


class _Told(Exception):
    """A run of a sweep failed, and has said why."""


def run_composed(
    run: Callable[[DictConfig, Path], None],
    *,
    doc: str,
    config_name: str,
    instead: Callable[[list[str]], bool] = lambda arguments: False,
) -> None:
    """Compose `config_name` with the process's arguments and call `run` with the config and the run's folder.

    doc: what `--help` prints. instead: called first; true = it has done all that these arguments ask for.
    """
    register()
    # argparse takes overrides in one piece only: `task=icu -m seed=0,1` becomes `-m task=icu seed=0,1`.
    arguments = sorted(sys.argv[1:], key=_is_override)
    if {"-h", "--help"} & set(arguments):  # Hydra's own would need a task, and twice the time
        print(f"{doc}\n{choices()}")
        return
    sys.argv[1:] = arguments
    # Hydra would otherwise print our errors itself, with two lines around them.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    @hydra.main(version_base="1.3", config_path=str(shipped_folder("configs")), config_name=config_name)
    def composed(config: DictConfig) -> None:
        output_dir = Path(HydraConfig.get().runtime.output_dir)
        try:
            make_places_absolute(config, base=HydraConfig.get().runtime.cwd)
            run(config, output_dir)
        except InputError as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:  # the other jobs of a sweep go on
                print(f"error: {error}", file=sys.stderr)
                raise _Told from error
            stop(str(error))

    try:
        check_choices(arguments)
        if not instead(arguments):
            composed()
    except _Told:
        stop("not every run of the sweep ended well; what was wrong is said above, where each of them began")
    except InputError as error:
        stop(str(error))
    except HydraException as error:
        stop(explain_hydra_error(error, arguments, config_name=config_name))
    except OmegaConfBaseException as error:
        stop(f"config: {' '.join(str(error).split())}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(
            f"{where}{error.strerror or error}; results go below paths.log_dir or into hydra.run.dir, decoded images "
            f"below paths.cache_dir: give folders that can be written and have room"
        )


def stop(sentence: str) -> NoReturn:
    """End the process with one sentence on the standard error."""
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(EXIT_INPUT)


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))
