"""Import MONAI without what a training run does not use: it is there in a tenth of the time.

`import monai` imports all of its modules, and with them mlflow, matplotlib, scikit-learn, scipy.signal and whatever
else is installed that one of them can use: seconds at every start.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# MONAI imports these where they are there, and says what is missing where they are not.
_NOT_USED = frozenset(
    {
        "cucim", "cupy", "gdown", "h5py", "huggingface_hub", "ignite", "itk", "jsonschema", "lmdb", "matplotlib",
        "mlflow", "nibabel", "nni", "nrrd", "onnx", "openslide", "optuna", "pandas", "pydicom", "scipy", "skimage",
        "sklearn", "tensorboard", "tensorboardX", "tifffile", "tqdm", "transformers", "zarr",
    }
)  # fmt: skip


class _Refusal:
    """Finds nothing of `_NOT_USED` that is not imported already."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in _NOT_USED:
            raise ModuleNotFoundError(f"not imported to start sooner: {name}", name=name)
        return None


_may_be_lean = True


def keep_whole() -> None:
    """Make `import_lean` do nothing: for a process that runs several jobs, one of which may need more of MONAI."""
    global _may_be_lean
    _may_be_lean = False


def import_lean() -> None:
    """Import MONAI's networks and datasets; its transforms, handlers and readers lack what they would use of others.

    For a process that uses nothing of MONAI but those. Where MONAI is imported already, nothing is done.
    """
    if "monai" in sys.modules or not _may_be_lean:
        return
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        importlib.import_module("monai")
    finally:
        sys.meta_path.remove(refusal)
