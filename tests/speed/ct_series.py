"""How fast a CT series becomes a resampled uint8 volume, beside the plain MONAI program, by transfer syntax and recipe.

python tests/speed/ct_series.py [NUMBER OF SLICES] [TURNS]

A chest of 300 slices of 512 x 512, 1 mm apart, with noise, is drawn, and written with headers as long as those of a
real scanner (220 elements). Ours: `CtRecipe.read` of the folder's files. Peer P1: `LoadImage` with `PydicomReader`,
`Spacing` to the recipe's, `Resize` to its box and the window to uint8, of MONAI. In turns in one process on the same
files, which are in the page cache; the ratio of the medians. Threads: as each program takes them.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, generate_uid

from midrc_ml.images.ct_recipe import CtRecipe
from midrc_ml.images.ct_resample import resampled
from midrc_ml.images.ct_series import read_ct_series
from midrc_ml.images.files import members

SIDE, SPACING = 512, (1.0, 0.7, 0.7)
# Name: (transfer syntax, encoder, the goal for P1 / ours).
FORMS: dict[str, tuple[str, Callable[[np.ndarray], bytes] | None, float]] = {
    "uncompressed": ("1.2.840.10008.1.2.1", None, 5.0),
    "JPEG lossless": (
        "1.2.840.10008.1.2.4.70",
        lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16),
        4.0,
    ),
}
RECIPES = {
    "96, 4 mm": CtRecipe(),
    "224, 1.5 mm": CtRecipe(size=224, spacing_mm=1.5),
}


def drawn(count: int) -> np.ndarray:
    """Stored values (HU + 1024), (slice, row, column), of a body with two lungs."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid((np.arange(SIDE) - 256) * SPACING[1], (np.arange(SIDE) - 256) * SPACING[2], indexing="ij")
    noise = rng.normal(0, 15, (4, SIDE, SIDE))
    volume = np.empty((count, SIDE, SIDE), np.uint16)
    for number in range(count):
        z = (number - count / 2) * SPACING[0]
        hu = np.where((x / 160) ** 2 + (y / 110) ** 2 < 1, 40.0, -1000.0)
        for side in (-1, 1):
            hu[((x - side * 75) / 55) ** 2 + (y / 80) ** 2 + (z / 140) ** 2 < 1] = -850
        volume[number] = np.clip(hu + noise[number % 4] + 1024, 0, 4095)
    return volume


def write(volume: np.ndarray, syntax: str, encode: Callable[[np.ndarray], bytes] | None, folder: Path) -> None:
    series, frame = generate_uid(), generate_uid()
    for number, pixels in enumerate(volume):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = UID(syntax)
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SeriesInstanceUID, data.FrameOfReferenceUID, data.Modality = series, frame, "CT"
        data.ImageType, data.InstanceNumber, data.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], number + 1, 1
        data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], list(SPACING[1:])
        data.ImagePositionPatient = [-179.2, -179.2, number * SPACING[0]]
        data.RescaleSlope, data.RescaleIntercept, data.KVP, data.SliceThickness = 1, -1024, 120, 1
        data.ConvolutionKernel, data.RescaleType = "STANDARD", "HU"
        block = data.private_block(0x0019, "SPEED TEST", create=True)
        for element in range(185):
            block.add_new(element, "DS", f"{element}.500000")
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelData = pixels.tobytes() if encode is None else encapsulate([encode(pixels)])
        data["PixelData"].VR = "OW" if encode is None else "OB"
        data.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


def monai_program(recipe: CtRecipe) -> Callable[[str], object]:
    from monai.data import PydicomReader
    from monai.transforms import Compose, LoadImage, Resize, ScaleIntensityRange, Spacing

    spacing, size = float(recipe.spacing_mm), int(recipe.size)  # type: ignore[arg-type]
    return Compose(
        [
            LoadImage(PydicomReader(), image_only=True, ensure_channel_first=True),
            Spacing((spacing,) * 3, mode="bilinear"),
            Resize((size,) * 3, mode="trilinear"),
            ScaleIntensityRange(-1350, 150, 0, 255, clip=True, dtype=np.uint8),
        ]
    )


def seconds_each(work: list[Callable[[str], object]], folder: str, turns: int) -> list[float]:
    """Median seconds by each of `work`, in turns, so that a busy machine is one for all; the first turn is not kept."""
    taken: list[list[float]] = [[] for _ in work]
    for turn in range(turns + 1):
        for each, times in zip(work, taken, strict=True):
            started = time.perf_counter()
            each(folder)
            if turn:
                times.append(time.perf_counter() - started)
    return [median(times) for times in taken]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    warnings.simplefilter("ignore")
    volume = drawn(count)
    print(f"{count} slices of {SIDE} x {SIDE}; seconds a series")
    print(f"{'':14} {'box':12} {'ours':>6} {'of these reading':>17} {'P1':>6} {'P1 / ours':>10} {'goal':>5}")
    for name, (syntax, encode, goal) in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            write(volume, syntax, encode, Path(folder))
            for box, recipe in RECIPES.items():
                peer = monai_program(recipe)
                ours, reading, theirs = seconds_each(
                    [
                        lambda path, recipe=recipe: recipe.read(members(path)),
                        lambda path: read_ct_series(members(path)),
                        peer,
                    ],
                    folder,
                    turns,
                )
                print(
                    f"{name:14} {box:12} {ours:6.2f} {reading:17.2f} {theirs:6.2f} {theirs / ours:10.2f} {goal:5.1f}",
                    flush=True,
                )
    hu = (volume.astype(np.int32) - 1024).astype(np.int16)
    for box, recipe in RECIPES.items():
        spacing = (float(recipe.spacing_mm),) * 3  # type: ignore[arg-type]
        (taken,) = seconds_each([lambda _, spacing=spacing: resampled(hu, SPACING, spacing)], "", turns)
        print(f"{'resample only':14} {box:12} {taken:6.2f}")


if __name__ == "__main__":
    main()
