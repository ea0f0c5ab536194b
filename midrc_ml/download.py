"""Fetch images and tables from MIDRC or the Imaging Data Commons; the same line again goes on after a break.

python -m midrc_ml.download midrc --manifest MIDRC_manifest.json --to FOLDER       the objects of a manifest
python -m midrc_ml.download midrc --projects Open-R1 --where study_modality=DX --to FOLDER          of a query
python -m midrc_ml.download midrc --export --projects Open-A1,Open-R1 --to FOLDER           the tables alone
python -m midrc_ml.download idc --collection covid_19_ny_sbu --modality CR,DX --to FOLDER           open data
python -m midrc_ml.download midrc --manifest MIDRC_manifest.json --to FOLDER --dry-run       how much it is

Exit status: 0, all is there; 1, something could not be had, and FOLDER/not_downloaded.csv says what and why;
2, the line itself or the key has to be changed; 130, stopped with Ctrl-C.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from midrc_ml.errors import InputError

EXIT_SOME_FAILED, EXIT_INPUT, EXIT_STOPPED = 1, 2, 130
MIDRC = "https://data.midrc.org"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb with the process's arguments."""
    given = _parser().parse_args(arguments)
    # At other levels the connections write addresses, and those of objects are signed.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
    try:
        if not given.to.strip():
            raise InputError("--to is empty; give the folder that images and tables go into")
        complete = _midrc(given) if given.source == "midrc" else _idc(given)
    except InputError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print("\nstopped; the same line goes on from here", file=sys.stderr)
        raise SystemExit(EXIT_STOPPED) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror or type(error).__name__}; give a folder that can be written with --to")
    if not complete:
        raise SystemExit(EXIT_SOME_FAILED)


def _midrc(given: argparse.Namespace) -> bool:
    from midrc_ml.downloads.failures import Patience
    from midrc_ml.downloads.midrc import MidrcRequest, fetch_midrc
    from midrc_ml.downloads.transfers import TransferSettings

    request = MidrcRequest(
        endpoint=given.endpoint,
        credentials=given.credentials,
        folder=given.to,
        manifest=given.manifest,
        filter_file=given.filter,
        projects=given.projects,
        conditions=given.where,
        export_only=given.export,
        nodes=given.nodes,
        tables=not given.no_tables,
        dry_run=given.dry_run,
    )
    settings = TransferSettings(
        jobs=given.jobs,
        timeout_s=given.timeout,
        patience=Patience(retries=given.retries),
    )
    return fetch_midrc(request, settings)


def _idc(given: argparse.Namespace) -> bool:
    from midrc_ml.downloads.filters import names_of
    from midrc_ml.downloads.idc import IdcSelection, fetch_idc

    selection = IdcSelection(
        collections=names_of(given.collection, "--collection"),
        patients=names_of(given.patients, "--patients"),
        modalities=names_of(given.modality, "--modality"),
    )
    return fetch_idc(selection, folder=given.to, dry_run=given.dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m midrc_ml.download", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="midrc|idc")
    midrc = sources.add_parser("midrc", help="from a Gen3 portal, with an API key; see docs/download.md")
    idc = sources.add_parser("idc", help="from the Imaging Data Commons, open")
    for each in (midrc, idc):
        each.add_argument("--to", required=True, metavar="FOLDER", help="where images and tables go")
        each.add_argument("--dry-run", action="store_true", help="say how much it is, and fetch nothing")
    _add_names(midrc, "--projects", "projects, as Open-A1,Open-R1")
    midrc.add_argument("--manifest", metavar="FILE", help="fetch the objects of a JSON manifest of the portal")
    midrc.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="fetch the data files with this value (also != >= <=); the same field twice: either value",
    )
    midrc.add_argument("--filter", metavar="FILE", help="fetch the data files of a guppy filter, a JSON file")
    midrc.add_argument("--export", action="store_true", help="fetch the tables of --projects, and no images")
    _add_names(midrc, "--nodes", "nodes whose tables are wanted (default: all that cohort=midrc reads)")
    midrc.add_argument("--no-tables", action="store_true", help="fetch no tables beside the images")
    midrc.add_argument("--endpoint", default=MIDRC, metavar="URL", help="another Gen3 portal (default: %(default)s)")
    midrc.add_argument(
        "--credentials",
        metavar="FILE",
        help="the API key (default: the environment's GEN3_API_KEY, else ~/.gen3/credentials.json)",
    )
    midrc.add_argument(
        "--jobs", type=_at_least(1), default=4, metavar="N", help="objects at a time (default: %(default)s)"
    )
    midrc.add_argument(
        "--retries", type=_at_least(0), default=5, metavar="N", help="tries after a first one that failed (%(default)s)"
    )
    midrc.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="S", help="seconds without an answer (default: %(default)s)"
    )
    _add_names(idc, "--collection", "collections, as covid_19_ny_sbu", required=True)
    _add_names(idc, "--patients", "only these patients (default: all)")
    _add_names(idc, "--modality", "only these modalities, as CR,DX (default: all)")
    return parser


def _add_names(parser: argparse.ArgumentParser, option: str, what: str, *, required: bool = False) -> None:
    parser.add_argument(option, action="append", default=[], metavar="A,B", help=what, required=required)


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {lowest}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _stop(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(EXIT_INPUT)


if __name__ == "__main__":
    main()
