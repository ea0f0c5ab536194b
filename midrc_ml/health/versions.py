"""Versions of what computes, what this package requires and what it can use, and where public data lie."""

import importlib.metadata
import os
import platform
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

import midrc_ml
from midrc_ml.health.findings import Finding
from midrc_ml.health.places import shown

PART = "versions"
DATA_PART = "public data"
_SHOWN = ("torch", "monai", "mlflow", "hydra-core", "pydicom", "numpy", "pandas")
# The folders that cohorts of public collections read below MIDRC_ML_DATA.
_COLLECTIONS = ("brixia_severity", "cohen", "midrc", "ny_sbu", "ralo", "ricord_1c", "stoic2021", "tongji")


def version_findings() -> list[Finding]:
    """Python, the packages, and the optional extras; each requirement that is not met is told with its command."""
    python = f"{platform.python_version()} ({platform.python_implementation()})"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    found = [
        Finding(part=PART, status="ok", what="midrc_ml", value=midrc_ml.__version__),
        Finding(part=PART, status="ok", what="python", value=python),
        Finding(part=PART, status="ok", what="system", value=system),
    ]
    required = requirements()
    if not required:
        found.append(
            Finding(
                part=PART,
                status="warn",
                what="requirements",
                value="this package is not installed, so that what it requires is not known",
                what_to_do="pip install -e . -c constraints.txt",
            )
        )
    plain = [requirement for requirement, extra in required if extra is None]
    by_name = {requirement.name: requirement for requirement in plain}
    found += [_package(by_name.get(name, Requirement(name))) for name in _SHOWN]
    others = [_package(requirement) for requirement in plain if requirement.name not in _SHOWN]
    found += [finding for finding in others if finding.status != "ok"]
    good = sum(finding.status == "ok" for finding in others)
    if good:
        found.append(
            Finding(
                part=PART,
                status="ok",
                what="other requirements",
                value=f"{good} installed, in the versions asked for",
                facts={finding.what: finding.value for finding in others if finding.status == "ok"},
            )
        )
    extras: dict[str, list[Requirement]] = {}
    for requirement, extra in required:
        if extra is not None:
            extras.setdefault(extra, []).append(requirement)
    return found + [_extra(name, wanted) for name, wanted in extras.items()]


def data_findings(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """What lies in the folder of MIDRC_ML_DATA; no other name in it is shown."""
    folder = environment.get("MIDRC_ML_DATA")
    finding = partial(Finding, part=DATA_PART, what="MIDRC_ML_DATA")
    if not folder:
        return [
            finding(
                status="not_applicable",
                value="not set; only cohorts of public collections need it",
                what_to_do="export MIDRC_ML_DATA=FOLDER",
            )
        ]
    try:
        names = sorted(entry.name for entry in os.scandir(Path(folder).expanduser()) if entry.is_dir())
    except OSError as error:
        value = f"{shown(folder)} cannot be listed ({error.strerror or type(error).__name__})"
        advice = "set it to the folder that holds ralo/, cohen/ and the others, or unset it"
        return [finding(status="warn", value=value, what_to_do=advice)]
    known = [name for name in names if name in _COLLECTIONS]
    other = len(names) - len(known)
    value = f"{shown(folder)} holds {', '.join(known) or 'none of the public collections'}"
    value += f" and {other} other folder{'s' * (other != 1)}" if other else ""
    if known:
        return [finding(status="ok", value=value, facts={"collections": known})]
    return [finding(status="warn", value=value, what_to_do=f"a cohort reads its own folder: {', '.join(_COLLECTIONS)}")]


@lru_cache(maxsize=1)
def requirements() -> tuple[tuple[Requirement, str | None], ...]:
    """What this package requires, with the name of the extra that asks for it; empty where it is not known."""
    checkout = Path(midrc_ml.__file__).resolve().parent.parent / "pyproject.toml"
    if checkout.is_file():  # what was installed from a checkout may be older than the checkout
        project = tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]
        pairs = [(text, None) for text in project["dependencies"]]
        for extra, texts in project.get("optional-dependencies", {}).items():
            pairs += [(text, extra) for text in texts]
        return tuple((Requirement(text), extra) for text, extra in pairs)
    try:
        texts = importlib.metadata.requires("midrc_ml") or []
        extras = importlib.metadata.metadata("midrc_ml").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return ()
    found: list[tuple[Requirement, str | None]] = []
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            found.append((requirement, None))
        else:
            found += [(requirement, extra) for extra in extras if marker.evaluate({"extra": extra})]
    return tuple(found)


def installed_version(name: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def install_command(names: Sequence[str]) -> str:
    """The command that installs these packages in the versions that this package asks for; "" for none."""
    asked = {requirement.name: requirement for requirement, _ in requirements()}
    texts = [f"{name}{asked[name].specifier}" if name in asked else name for name in names]
    return f"pip install {' '.join(map(shlex.quote, texts))}" if texts else ""


def _package(requirement: Requirement) -> Finding:
    version = installed_version(requirement.name)
    finding = partial(Finding, part=PART, what=requirement.name)
    if version is None:
        advice = install_command([requirement.name])
        return finding(status="fail", value="not installed", what_to_do=advice)
    if not requirement.specifier.contains(version, prereleases=True):
        value = f"{version}; {requirement.specifier} is required"
        return finding(status="fail", value=value, what_to_do=install_command([requirement.name]))
    return finding(status="ok", value=version)


def _extra(name: str, wanted: Sequence[Requirement]) -> Finding:
    missing = [
        requirement.name
        for requirement in wanted
        if (version := installed_version(requirement.name)) is None
        or not requirement.specifier.contains(version, prereleases=True)
    ]
    what = f"extra [{name}]"
    if not missing:
        have = ", ".join(f"{requirement.name} {installed_version(requirement.name)}" for requirement in wanted[:3])
        more = f" and {len(wanted) - 3} more" if len(wanted) > 3 else ""
        return Finding(part=PART, status="ok", what=what, value=f"installed: {have}{more}")
    return Finding(
        part=PART,
        status="not_applicable",
        what=what,
        value=f"not installed: {', '.join(missing)}",
        what_to_do=install_command(missing),
    )
