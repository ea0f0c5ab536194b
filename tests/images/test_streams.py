"""Damaged streams that a decoder reads all the same."""

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from films import as_bytes, film
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1

from midrc_ml.images import dicom_pixels
from midrc_ml.images.dicom_pixels import read_dicom
from midrc_ml.images.files import ImageError
from midrc_ml.images.streams import is_broken

HTJ2K = "1.2.840.10008.1.2.4.201"
SIDE = 256
CUT_OFF = "pixels cannot be decoded (the stream is cut off)"
NOT_AS_LONG = "pixels cannot be decoded (the stream is damaged: a part of it is not as long as it says)"


def drawn(dtype: type = np.uint16, top: int = 4096) -> np.ndarray:
    """A slope with noise, which no decoder takes for a fill."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0.2, 0.7, SIDE)[:, None] * top + rng.normal(0, top / 50, (SIDE, SIDE))
    return slope.clip(0, top - 1).astype(dtype)


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k"),
    HTJ2K: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
    JPEGLosslessSV1: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    JPEGBaseline8Bit: lambda pixels: imagecodecs.jpeg8_encode(pixels, level=95),
}


def dicom(pixels: np.ndarray, syntax: str, stream: bytes) -> Dataset:
    data = film(pixels, bits=8 if pixels.dtype == np.uint8 else 12)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([stream])
    data["PixelData"].VR = "OB"
    return data


def pixels_for(syntax: str) -> np.ndarray:
    return drawn(np.uint8, 256) if syntax == JPEGBaseline8Bit else drawn()


@pytest.mark.parametrize("syntax", list(ENCODERS))
def test_a_whole_stream_is_read(syntax: str) -> None:
    pixels = pixels_for(syntax)
    found = read_dicom(as_bytes(dicom(pixels, syntax, ENCODERS[syntax](pixels)))).stored.astype(int)
    assert np.abs(found - pixels).max() <= (20 if syntax == JPEGBaseline8Bit else 0)


@pytest.mark.parametrize("syntax", list(ENCODERS))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_stream_that_is_cut_off_and_ended_is_refused(syntax: str, share: float) -> None:
    pixels = pixels_for(syntax)
    stream = ENCODERS[syntax](pixels)
    cut = stream[: int(len(stream) * share)] + b"\xff\xd9"
    with pytest.raises(ImageError) as caught:
        read_dicom(as_bytes(dicom(pixels, syntax, cut)))
    is_jpeg = syntax in (JPEGLosslessSV1, JPEGBaseline8Bit)
    assert str(caught.value) == (CUT_OFF if is_jpeg else NOT_AS_LONG)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2K])
def test_a_stream_that_lost_a_byte_is_refused(syntax: str) -> None:
    pixels = drawn()
    stream = ENCODERS[syntax](pixels)
    middle = len(stream) // 2
    with pytest.raises(ImageError, match="a part of it is not as long as it says"):
        read_dicom(as_bytes(dicom(pixels, syntax, stream[:middle] + stream[middle + 1 :])))


@pytest.mark.parametrize("syntax", list(ENCODERS))
def test_an_image_of_zeros_is_read(syntax: str) -> None:
    pixels = np.zeros_like(pixels_for(syntax))
    assert not read_dicom(as_bytes(dicom(pixels, syntax, ENCODERS[syntax](pixels)))).stored.any()


def test_a_lossless_film_that_ends_in_the_middle_of_its_range_is_read() -> None:
    pixels = drawn()
    pixels[-3:] = 2048
    found = read_dicom(as_bytes(dicom(pixels, JPEGLosslessSV1, ENCODERS[JPEGLosslessSV1](pixels)))).stored
    assert np.array_equal(found, pixels)


def test_every_whole_stream_of_the_real_files_is_found_whole(midrc_ml_data: Path) -> None:
    import pandas as pd
    import pydicom

    folder = midrc_ml_data / "dicom"
    files = pd.read_csv(folder / "manifest.csv", dtype=str)
    chosen = files[files["transfer_syntax"].isin([JPEG2000Lossless, "1.2.840.10008.1.2.4.91"])]
    checked = 0
    for row in chosen[chosen["broken_on_purpose"].fillna("") == ""].itertuples():
        data = pydicom.dcmread(folder / row.path)
        frame = get_frame(data.PixelData, 0, number_of_frames=int(data.get("NumberOfFrames") or 1))
        assert not is_broken(frame), row.path
        checked += 1
    assert checked > 5


def test_a_small_deflated_file_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_pixels, "_MAX_INFLATED", 1 << 22)
    data = film(np.zeros((8, 8), np.uint16))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = as_bytes(data)
    assert read_dicom(content).stored.shape == (8, 8)
    start = 144 + int.from_bytes(content[140:144], "little")
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(zlib.decompress(content[start:], -15))
    packed += deflate.compress(bytes(5 << 20))
    with pytest.raises(ImageError, match="a deflated DICOM file that unpacks to over 4 MiB"):
        read_dicom(content[:start] + packed + deflate.flush())
