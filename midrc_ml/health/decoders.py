"""Which decoder reads which transfer syntax here, proved by decoding a small frame with each of them."""

from dataclasses import dataclass
from functools import partial
from importlib import import_module

import numpy as np
from pydicom.uid import UID

from midrc_ml.health.findings import Finding
from midrc_ml.health.frames import is_right, trial_facts, trial_file, trial_frame
from midrc_ml.health.versions import install_command, installed_version
from midrc_ml.images.decoders import DECODERS, NATIVE, Decoder
from midrc_ml.images.dicom_pixels import read_dicom, short

PART = "decoders by transfer syntax"
# Short forms of the names of PS3.6 table A-1.
_NAMES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.53": "JPEG Spectral Selection",
    "1.2.840.10008.1.2.4.55": "JPEG Full Progression",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
# The package that a decoder's module comes from, where it is called differently.
_PACKAGES = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg", "rle.utils": "pylibjpeg-rle"}


@dataclass(frozen=True)
class Trial:
    """How a decoder did. outcome: `decodes`, `wrong values`, `not installed`, `not tried`, or why it cannot."""

    decoder: Decoder
    outcome: str

    @property
    def package(self) -> str:
        """What pip calls the package of this decoder."""
        return _PACKAGES.get(self.decoder.module, self.decoder.module)


def name_of(syntax: str) -> str:
    """A short name of a transfer syntax, with the end of its UID."""
    name = _NAMES.get(syntax) or UID(syntax).name
    end = syntax.removeprefix("1.2.840.10008.1.2")
    return f"{name} ({end})" if end and name != syntax else name


def decoder_findings() -> list[Finding]:
    """A finding for each transfer syntax that is read."""
    return [_finding(syntax, trials_of(syntax)) for syntax in DECODERS]


def trials_of(syntax: str) -> list[Trial]:
    """Each decoder of a transfer syntax, in the order in which they are asked."""
    return [Trial(decoder, _outcome(decoder, syntax)) for decoder in DECODERS[syntax]]


def _outcome(decoder: Decoder, syntax: str) -> str:
    try:
        module = import_module(decoder.module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        return "not installed" if missing else f"does not load ({short(error)})"
    try:
        if decoder is NATIVE:
            samples = read_dicom(trial_file(syntax)).stored
        else:
            samples = np.asarray(decoder.decode(module, trial_frame(syntax), trial_facts(syntax)))
    except LookupError:
        return "not tried"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pylibjpeg-rle panics in Rust, which is no Exception
        return f"cannot ({short(error)})"
    return "decodes" if is_right(samples, syntax) else "wrong values"


def _finding(syntax: str, trials: list[Trial]) -> Finding:
    # As images are read: the first one that raises no error, whatever it gives.
    used = next((trial for trial in trials if trial.outcome in ("decodes", "wrong values", "not tried")), None)
    missing = [trial.package for trial in trials if trial.outcome.startswith(("not installed", "does not load"))]
    finding = partial(
        Finding,
        part=PART,
        what=name_of(syntax),
        facts={
            "syntax": syntax,
            "used": used.decoder.name if used else None,
            "decoders": {trial.decoder.name: trial.outcome for trial in trials},
            "versions": {trial.package: installed_version(trial.package) for trial in trials},
        },
    )
    if used is None:
        value = "not decoded here: " + "; ".join(f"{trial.decoder.name} {trial.outcome}" for trial in trials)
        return finding(status="fail", value=value, what_to_do=install_command(missing[:1]))
    value = " ".join(filter(None, (used.decoder.name, installed_version(used.package))))
    if used.outcome == "wrong values":
        advice = f"take the version that the tests passed with: pip install -c constraints.txt {used.package}"
        return finding(status="fail", value=f"{value} decodes to wrong values", what_to_do=advice)
    if used.outcome == "not tried":
        value += " (not tried: no frame at hand)"
    before, behind = trials[: trials.index(used)], trials[trials.index(used) + 1 :]
    if behind:
        value += "; then " + ", ".join(_in_short(trial) for trial in behind)
    if before:
        value += f"; first choice: {', '.join(f'{trial.decoder.name} {trial.outcome}' for trial in before)}"
        return finding(status="warn", value=value, what_to_do=install_command(missing[:1]))
    if wrong := [trial.package for trial in behind if trial.outcome == "wrong values"]:
        advice = f"pip install -U {wrong[0]}, which is asked only where the others fail"
        return finding(status="warn", value=value, what_to_do=advice)
    return finding(status="ok", value=value)


def _in_short(trial: Trial) -> str:
    name = trial.decoder.name
    if trial.outcome == "decodes":
        return name
    return f"{name} (cannot)" if trial.outcome.startswith("cannot") else f"{name} ({trial.outcome})"
