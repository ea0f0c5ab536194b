"""Say what works on this machine, what is missing, and the command that mends it.

python -m midrc_ml.doctor                                decoders, cache folder, GPU, tracking store, versions
python -m midrc_ml.doctor --images /data/midrc           and whether the transfer syntaxes there are decoded here
python -m midrc_ml.doctor --json                         the same for programs
python -m midrc_ml.doctor --log-dir logs --close-stale 24    end killed runs in MLflow; nothing else is ever changed

Exit status: 0, everything that training needs is there; 1, something is broken; 2, the line itself has to be changed.
"""

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from midrc_ml.health.findings import Finding

EXIT_BROKEN, EXIT_INPUT, EXIT_STOPPED = 1, 2, 130
_WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb with the process's arguments."""
    given = _parser().parse_args(arguments)
    if given.images is not None and not os.path.exists(os.path.expanduser(given.images)):
        _stop(f"--images {given.images}: there is no such file or folder; give a folder, a ZIP or a cohort's root")
    for option, value in (("--images", given.images), ("--cache-dir", given.cache_dir), ("--log-dir", given.log_dir)):
        if value is not None and not value.strip():
            _stop(f"{option} is empty; give a folder")
    try:
        broken = _report(given)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(EXIT_STOPPED) from None
    if broken:
        raise SystemExit(EXIT_BROKEN)


def _report(given: argparse.Namespace) -> bool:
    """Look, print, and say whether something is broken."""
    import midrc_ml
    from midrc_ml.health.findings import as_json, as_text, findings_of
    from midrc_ml.processes import worker_pool

    started = time.monotonic()
    findings: list[Finding] = []
    # Importing torch takes longer than all the rest, and with a broken driver may end its process.
    with worker_pool(1) as pool:
        devices = pool.submit(_devices)
        for part, check in _checks(given, devices.result):
            findings += findings_of(part, check)
    if given.json:
        print(json.dumps(as_json(findings, version=midrc_ml.__version__, seconds=time.monotonic() - started), indent=1))
    else:
        terminal = sys.stdout.isatty()
        width = max(60, shutil.get_terminal_size((_WIDTH, 24)).columns) if terminal else _WIDTH
        colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        print(as_text(findings, heading=f"midrc_ml {midrc_ml.__version__} doctor", width=width, colour=colour))
    return any(finding.status == "fail" for finding in findings)


def _devices() -> list["Finding"]:
    from midrc_ml.health.devices import device_findings

    return device_findings()


def _checks(
    given: argparse.Namespace, devices: Callable[[], list["Finding"]]
) -> list[tuple[str, Callable[[], list["Finding"]]]]:
    """The parts in the order in which they are told. Each imports its own: what is missing breaks one part alone."""

    def decoders() -> list["Finding"]:
        from midrc_ml.health.decoders import decoder_findings

        return decoder_findings()

    def images() -> list["Finding"]:
        from midrc_ml.health.image_files import image_findings

        return image_findings(Path(given.images).expanduser(), limit=given.limit, seconds=given.seconds)

    def cache() -> list["Finding"]:
        from midrc_ml.health.cache_folder import cache_findings

        return cache_findings(Path(given.cache_dir or _configured("cache_dir")))

    def tracking() -> list["Finding"]:
        from midrc_ml.health.tracking_store import tracking_findings

        log_dir = Path(given.log_dir or _configured("log_dir"))
        return tracking_findings(log_dir, close_stale_hours=given.close_stale)

    def versions() -> list["Finding"]:
        from midrc_ml.health.versions import data_findings, version_findings

        return version_findings() + data_findings()

    checks = [("decoders by transfer syntax", decoders), ("images found", images), ("cache folder", cache)]
    checks += [("GPU and CPU", devices), ("tracking store", tracking), ("versions", versions)]
    return [(part, check) for part, check in checks if check is not images or given.images is not None]


def _configured(name: str) -> str:
    """`paths.<name>` as a run without overrides has it."""
    from omegaconf import OmegaConf

    from midrc_ml.config import register, shipped_folder

    register()
    return str(OmegaConf.load(shipped_folder("configs") / "train.yaml").paths[name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m midrc_ml.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", metavar="PATH", help="a folder, a ZIP or a cohort's root: which syntaxes are there")
    parser.add_argument(
        "--limit", type=_whole_number, default=2000, metavar="N", help="headers to read, spread evenly (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=_number, default=20.0, metavar="S", help="and no longer than this (default: %(default)s)"
    )
    parser.add_argument("--cache-dir", metavar="FOLDER", help="default: paths.cache_dir of the configs")
    parser.add_argument("--log-dir", metavar="FOLDER", help="default: paths.log_dir of the configs, logs")
    parser.add_argument(
        "--close-stale",
        type=_number,
        metavar="HOURS",
        help="end as KILLED the runs that MLflow calls RUNNING, that gave no sign of life for so long and whose "
        "process is not seen to live (default: change nothing)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def _stop(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(EXIT_INPUT)


if __name__ == "__main__":
    main()
