"""`midrc-ml VERB ...` and `python -m midrc_ml VERB ...`: every verb under one name."""

import importlib
import sys

from midrc_ml import __version__

VERBS = {
    "train": "train one model for one task, evaluate it, and track it",
    "evaluate": "score a file of predictions, from any model and any framework",
    "predict": "apply a finished run to another cohort, or to a folder of DICOM images",
    "compare": "say whether one model is better than another, on the studies that both were tested on",
    "describe": "say what a cohort holds for a task, without touching a pixel",
    "audit": "say how a number could be wrong: leaks, label time, shortcuts, floors, privacy",
    "prepare": "decode a cohort's images into the image cache",
    "download": "fetch images and tables from MIDRC or the Imaging Data Commons",
    "doctor": "say what works on this machine, what is missing, and the command that mends it",
}


def main() -> None:
    """Hand the rest of the command line to the verb's own module."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb == "--version":
        print(__version__)
        return
    if verb not in VERBS:
        lines = [f"  {name:10} {what}" for name, what in VERBS.items()]
        print(
            "\n".join(
                ["usage: midrc-ml VERB [settings]", "", *lines, "", "midrc-ml VERB --help says what a verb takes."]
            )
        )
        raise SystemExit(0 if verb in ("-h", "--help") else 2)
    sys.argv = [f"midrc-ml {verb}", *sys.argv[2:]]
    importlib.import_module(f"midrc_ml.{verb}").main()


if __name__ == "__main__":
    main()
