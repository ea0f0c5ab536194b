"""Find configs/ and experiments/, compose them with Hydra, keep them, and explain what is wrong with them.

Only this module and the verbs know Hydra. A config is code (`_target_` names what is called): never run one
from a source that you would not run a program from.
"""

import difflib
import inspect
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from midrc_ml.errors import InputError

CONFIG_FILE = "config.yaml"
_PLACES = (
    *(f"cohort.{name}" for name in ("root", "aliases", "export.root", "export.aliases")),
    *(f"cohort.{name}" for name in ("cache_dir", "data_dir", "images_dir")),
    "split.test_ids",
    "split.file",
)
_PATHS = ("data_dir", "cache_dir", "log_dir")
_RUN_KEYS = {"task", "cohort", "split", "seed", "paths"}
# Descriptions of tables (cohort=csv) and lists of words: long, and with keys that a tracker may refuse.
_WORDS = ("cases", "studies", "series", "events", "readings", "discharge", "breathing_support")
_TABLES = tuple(f"cohort.{name}" for name in _WORDS)
_NOT_PARAMS = (
    *_PLACES,
    *_TABLES,
    "paths.",
    "tracking.uri",
    "task.question",
    "task.source",
    "task.needs",
    "task.metrics.",
)


def shipped_folder(name: str) -> Path:
    """Folder `name` inside an installed wheel, else at the top of the checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no {name}/ in {package} or {package.parent}; reinstall midrc_ml")


def register() -> None:
    """Make the resolvers of our configs known, and experiments/<name>/experiment.yaml as `experiment=<name>`."""
    from hydra.core.config_store import ConfigStore

    OmegaConf.register_new_resolver("user_cache", _user_cache, replace=True)
    OmegaConf.register_new_resolver("run_stamp", _run_stamp, replace=True, use_cache=True)
    for path in sorted(shipped_folder("experiments").glob("*/experiment.yaml")):
        node = OmegaConf.load(path)
        ConfigStore.instance().store(group="experiment", name=path.parent.name, node=node, package="_global_")


def instantiated(config: DictConfig) -> dict[str, Any]:
    """The objects of a config by its top-level keys.

    Raises:
        InputError: a setting that its object refuses, or an unset or unknown one.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        made: dict[str, Any] = instantiate(config, _convert_="all")
    except (InstantiationException, OmegaConfBaseException) as error:
        ours = next((cause for cause in _causes(error) if isinstance(cause, InputError)), None)
        if ours is not None:
            raise ours from error
        deepest = list(_causes(error))[-1]
        where = getattr(error, "full_key", None) or _full_key(str(error))
        raise InputError(_explained(str(deepest), where, config)) from error
    return made


def _explained(text: str, where: str, config: DictConfig) -> str:
    """What is wrong at `where`; a setting that its class does not have is named with the nearest one that it has."""
    unknown = re.search(r"got an unexpected keyword argument '(\w+)'", text)
    if not unknown or not where:
        return f"config{f' at {where}' if where else ''}: {_one_line(text)}"
    from hydra.utils import get_object

    known = inspect.signature(get_object(OmegaConf.select(config, where)["_target_"])).parameters
    name = unknown.group(1)
    return (
        f"config at {where}: {where}.{name}: there is no such setting{_near(name, list(known))}; "
        f"it has {', '.join(known)}"
    )


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """The config `name` with these overrides, resolved, without what Hydra does for a run: no folder, no log.

    Raises:
        HydraException, OmegaConfBaseException: as Hydra would for the same command line.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        config = compose(name, overrides=[override for override in overrides if not override.startswith("-")])
    make_places_absolute(config, base=os.getcwd())
    return config


def make_places_absolute(config: DictConfig, *, base: str) -> None:
    """Resolve `config` in place, with every folder as an absolute path: a run is resumed from anywhere.

    base: the folder that the command was started in. An empty text is no place: the cohort's is then unset.

    Raises:
        InputError: an unknown or empty key of `paths`.
    """
    for name, value in config.paths.items():
        if name not in _PATHS:
            raise InputError(f"paths.{name}: there is no such setting; paths are {', '.join(_PATHS)}")
        if value in (None, "") and name != "data_dir":
            raise InputError(f"paths.{name} is {value!r}; give a folder")
        config.paths[name] = _absolute(value, base)
    OmegaConf.resolve(config)
    for place in _PLACES:
        value = OmegaConf.select(config, place)
        if value is not None and "://" not in str(value):
            OmegaConf.update(config, place, _absolute(value, base))


def _absolute(value: object, base: str) -> str | None:
    return os.path.normpath(os.path.join(base, os.path.expanduser(str(value)))) if value not in (None, "") else None


def save_config(config: DictConfig, folder: Path) -> None:
    """Write the resolved config into the folder of a new run.

    Raises:
        InputError: the folder holds a run already; of two that start at once, one is told so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(folder / CONFIG_FILE, "x", encoding="utf-8") as file:
            file.write(OmegaConf.to_yaml(config, resolve=True))
    except FileExistsError as error:
        raise InputError(
            f"hydra.run.dir={folder} holds a run; choose another folder, or resume={folder} to go on"
        ) from error


def load_config(folder: Path, *, setting: str = "resume") -> DictConfig:
    """The config of a run. setting: on the command line, which named the folder.

    Raises:
        InputError: the folder is not that of a run.
    """
    path = folder / CONFIG_FILE
    try:
        loaded = OmegaConf.load(path)
    except (FileNotFoundError, NotADirectoryError):
        loaded = None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no longer a readable config; start a new run") from error
    if not isinstance(loaded, DictConfig) or not set(loaded) >= _RUN_KEYS:
        raise InputError(
            f"{setting}={folder} is not the folder of a run: no {CONFIG_FILE} of a run in it; "
            f"give the folder that a run printed (logs/<task>/runs/<time>)"
        )
    return loaded


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted key: value} of a nested mapping; a list is one value."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            result |= flat(value, f"{name}.")
        else:
            result[name] = value
    return result


def shareable_params(config: DictConfig) -> dict[str, Any]:
    """The flattened config for a tracker: no path of this machine, no empty value, no prose."""
    short = {
        name.removesuffix("._target_"): value
        for name, value in flat(_plain(config)).items()
        if not name.endswith("._partial_")
    }
    return {
        name: value
        for name, value in short.items()
        if not name.startswith(_NOT_PARAMS)
        and value is not None
        and not (isinstance(value, str) and os.path.isabs(value))
    }


def choices() -> str:
    """The shipped groups and what may be chosen in each, for `--help`."""
    lines = ["Choose by group=choice (a task is required), set anything by key=value:", ""]
    for group in sorted(path for path in shipped_folder("configs").iterdir() if path.is_dir() and path.name != "hydra"):
        lines.append(f"  {group.name}: {', '.join(_choices_of(group.name))}")
    experiments = sorted(path.parent.name for path in shipped_folder("experiments").glob("*/experiment.yaml"))
    return "\n".join([*lines, f"  experiment: {', '.join(experiments) or 'none is shipped'}"])


def check_choices(arguments: Sequence[str]) -> None:
    """Refuse `tracking=null`, on which Hydra ends with a traceback.

    Raises:
        InputError: naming what may be chosen.
    """
    for argument in arguments:
        group, _, choice = argument.partition("=")
        if choice == "null" and group.isidentifier() and _choices_of(group):
            raise InputError(f"{argument}: choose one of {', '.join(_choices_of(group))}")


def _choices_of(group: str) -> list[str]:
    return sorted(path.stem for path in (shipped_folder("configs") / group).glob("*.yaml"))


def explain_hydra_error(error: Exception, overrides: Sequence[str], *, config_name: str = "train") -> str:
    """One sentence for what Hydra refused, with the nearest thing that exists.

    overrides: the command line, to say which setting of `config_name` a misspelt key may have meant.
    """
    from hydra.errors import OverrideParseException

    text = str(error)
    options = getattr(error, "options", None)
    missing = getattr(error, "missing_cfg_file", None)
    if missing and options is not None:
        group, _, name = str(missing).rpartition("/")
        near = _near(name, options, prefix=f"{group}=")
        return f"{group}={name}: there is no such {group}{near}; {group} is one of {', '.join(options)}"
    key = re.search(r"Could not override '([^']+)'", text)
    if key:
        wrong = key.group(1).split("@")[0]
        known = _known_keys(
            [override for override in overrides if override.lstrip("+~").split("=")[0].split("@")[0] != wrong],
            config_name,
        )
        return f"{wrong}: there is no such setting{_near(wrong, known)}; `task=... --cfg job` lists them all"
    must = re.search(r"You must specify '([^']+)'", text)
    if must:
        group = must.group(1)
        return f"give a {group}: {group}=NAME, one of {', '.join(_choices_of(group))}"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as key=value; a value with spaces, ~ or other signs needs quotes of "
            f"its own inside the shell's: 'key=\"value\"'"
        )
    return _one_line(text)


def _known_keys(overrides: Sequence[str], config_name: str) -> list[str]:
    """Every dotted key, and every group, of the config that the other overrides make."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    groups = [path.name for path in shipped_folder("configs").iterdir() if path.is_dir()]
    GlobalHydra.instance().clear()
    plain = [override for override in overrides if not override.startswith("-") and "hydra." not in override]
    if config_name != "predict" and not any(override.startswith("task=") for override in plain):
        plain.append("task=icu")
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        try:
            config = compose(config_name, overrides=plain)
        except (HydraException, OmegaConfBaseException):
            return groups
    groups = [group for group in groups if group in config]
    return groups + sorted(name for name in flat(_plain(config)) if not name.endswith(("_target_", "_partial_")))


def _plain(config: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(config)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _near(name: str, known: Sequence[str], prefix: str = "") -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {prefix}{found[0]}?" if found else ""


def _full_key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return found.group(1) if found else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _user_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "midrc_ml")


def _run_stamp() -> str:
    """Unique for two starts in one second, and for two machines that share a folder."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{os.getpid()}_{secrets.token_hex(2)}"
