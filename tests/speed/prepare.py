"""How fast films become records of the image cache, beside the plain MONAI program, by transfer syntax.

python tests/speed/prepare.py [NUMBER OF FILMS]

Films of 3000 x 2500 pixels of 14 bits are drawn, with noise and a collimated border, and written once in every syntax.
Ours: read, hash, decode, check, area-resample to 512, window (`images.build.decode_file`). Peer P1: `LoadImage` with
`PydicomReader` and `Resize(mode="area")` of MONAI; P3: pydicom's `pixel_array` alone. One process each, one after the
other on the same files, which are in the page cache; the ratio of medians of the rates.
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
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, generate_uid

from midrc_ml.cohorts.demo_films import draw_film
from midrc_ml.images.build import decode_file
from midrc_ml.images.recipe import Recipe

SHAPE, BITS, SIZE = (3000, 2500), 14, 512
J = "1.2.840.10008.1.2.4."
# Name: (transfer syntax, encoder, the goal of the design for ours / P1).
FORMS: dict[str, tuple[str, Callable[[np.ndarray], bytes] | None, float]] = {
    "uncompressed": ("1.2.840.10008.1.2.1", None, 3.3),
    "JPEG lossless": (f"{J}70", lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=BITS), 4.0),
    "JPEG-LS": (f"{J}80", imagecodecs.jpegls_encode, 2.0),
    "HTJ2K": (f"{J}201", lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True), 2.5),
    "JPEG 2000": (
        f"{J}90",
        lambda pixels: imagecodecs.jpeg2k_encode(
            pixels, level=0, reversible=True, codecformat="j2k", bitspersample=BITS
        ),
        1.2,
    ),
}


def drawn(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    film = draw_film(number / 3, shape=SHAPE, anatomy_seed=number, film_seed=number) * 12_000
    film = film + rng.normal(0, 40, SHAPE)
    film[:120], film[-90:], film[:, :80], film[:, -140:] = 60, 60, 60, 60
    return np.clip(film, 0, (1 << BITS) - 1).astype(np.uint16)


def write(pixels: np.ndarray, syntax: str, encode: Callable[[np.ndarray], bytes] | None, path: Path) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, BITS, BITS - 1
    data.PixelData = pixels.tobytes() if encode is None else encapsulate([encode(pixels)])
    data["PixelData"].VR = "OW" if encode is None else "OB"
    data.save_as(path, enforce_file_format=True)


def seconds_each(work: list[Callable[[str], object]], files: list[str]) -> list[float]:
    """Median seconds of a file by each of `work`, in turns, so that a busy machine is one for all; twice each file."""
    for each in work:  # warm up
        each(files[0])
    taken: list[list[float]] = [[] for _ in work]
    for file in [*files, *files]:
        for each, times in zip(work, taken, strict=True):
            started = time.perf_counter()
            each(file)
            times.append(time.perf_counter() - started)
    return [median(times) for times in taken]


def monai_program() -> Callable[[str], object]:
    from monai.data import PydicomReader
    from monai.transforms import Compose, LoadImage, Resize

    return Compose([LoadImage(PydicomReader(), ensure_channel_first=True), Resize((SIZE, SIZE), mode="area")])


def main() -> None:
    import torch

    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    recipe, peer = Recipe(size=SIZE), monai_program()
    films = [drawn(number) for number in range(count)]
    warnings.simplefilter("ignore")
    print(f"{'':14} {'ours files/s':>12} {'P1 files/s':>11} {'ours / P1':>10} {'goal':>5} {'P3 files/s':>11}  decoder")
    with tempfile.TemporaryDirectory() as folder:
        for name, (syntax, encode, goal) in FORMS.items():
            files = []
            for number, film in enumerate(films):
                path = Path(folder) / f"{number}.dcm"
                write(film, syntax, encode, path)
                files.append(str(path))
            row, pixels = decode_file((files[0], ()), recipe)
            if pixels is None:
                raise SystemExit(f"{name}: {row['reason']}")
            ours, theirs, plain = seconds_each(
                [lambda file: decode_file((file, ()), recipe), peer, lambda file: dcmread(file).pixel_array], files
            )
            print(
                f"{name:14} {1 / ours:12.1f} {1 / theirs:11.1f} {theirs / ours:10.2f} {goal:5.1f} {1 / plain:11.1f}  "
                f"{row['decoder']}"
            )


if __name__ == "__main__":
    main()
