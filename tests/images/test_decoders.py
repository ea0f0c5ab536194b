"""Every transfer syntax: the right samples, from each decoder that reads it, and no image from a cut stream."""

import csv
import hashlib
import sys
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from films import as_bytes, film
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID

from midrc_ml.images.decoders import DECODERS, LOSSY_SYNTAXES, Facts
from midrc_ml.images.dicom_pixels import DAMAGED, DicomImage, read_dicom
from midrc_ml.images.files import ImageError

J = "1.2.840.10008.1.2.4."
ENCODERS = {
    f"{J}57": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    f"{J}70": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    f"{J}80": imagecodecs.jpegls_encode,
    f"{J}90": lambda pixels: imagecodecs.jpeg2k_encode(
        pixels, level=0, reversible=True, codecformat="j2k", bitspersample=12
    ),
    f"{J}201": lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
    f"{J}203": lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}
# Two JPEG decoders may round differently; the other lossy syntaxes say exactly what comes out.
LIMIT_JPEG = 2


def smooth(rows: int = 40, columns: int = 56) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    return (1500 + 1200 * np.sin(x / 9) * np.cos(y / 7) + 3 * ((x * y) % 5)).astype(np.uint16)


def encoded(pixels: np.ndarray, syntax: str, frame: bytes | None = None) -> Dataset:
    data = film(pixels, bits=12)
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.PixelData = encapsulate([ENCODERS[syntax](pixels) if frame is None else frame])
    data["PixelData"].VR = "OB"
    return data


def real_files(folder: Path) -> list[dict[str, str]]:
    with open(folder / "dicom" / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def image_or_reason(path: Path) -> DicomImage | str:
    try:
        return read_dicom(path.read_bytes())
    except ImageError as error:
        return str(error)
    except DAMAGED as error:
        return type(error).__name__


def test_every_transfer_syntax_of_the_real_files_gives_the_values_of_the_manifest(midrc_ml_data: Path) -> None:
    """The manifest's values are those of other decoders (pydicom with gdcm and pylibjpeg-libjpeg)."""
    exact, near, unknown = Counter(), Counter(), Counter()
    for row in real_files(midrc_ml_data):
        image = image_or_reason(midrc_ml_data / "dicom" / row["path"])
        if isinstance(image, str):
            # What is refused is no grey image of one frame, or broken, or (the manifest's decoders failed too).
            is_film = (
                row["photometric"].startswith("MONOCHROME") and row["frames"] == "1" and row["dec_default"] == "ok"
            )
            assert not is_film or float(row["bits_allocated"]) == 1, (row["path"], image)
            continue
        assert image.decoder in {decoder.name for decoder in DECODERS[row["transfer_syntax"]]}
        if not row["dec_sha"]:
            unknown[row["transfer_syntax"]] += 1  # 12-bit JPEG, of which the manifest's decoders have no value
            continue
        same = hashlib.sha256(image.stored.astype(row["dec_dtype"]).tobytes()).hexdigest().startswith(row["dec_sha"])
        if row["transfer_syntax"] in (f"{J}50", f"{J}51"):
            assert abs(float(image.stored.mean()) - float(row["dec_mean"])) < 0.1, row["path"]
            assert abs(int(image.stored.min()) - float(row["dec_min"])) < LIMIT_JPEG, row["path"]
            assert abs(int(image.stored.max()) - float(row["dec_max"])) < LIMIT_JPEG, row["path"]
            near[row["transfer_syntax"]] += 1
        else:
            assert same, row["path"]
            exact[row["transfer_syntax"]] += 1
    assert set(exact) == {
        *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
        *("1.2.840.10008.1.2.5", f"{J}57", f"{J}70", f"{J}80", f"{J}81", f"{J}90", f"{J}91"),
    }
    assert set(near) == {f"{J}50", f"{J}51"}
    assert set(unknown) == {f"{J}51", f"{J}53", f"{J}55"}
    assert sum(exact.values()) >= 57


@pytest.mark.parametrize("syntax", [f"{J}53", f"{J}55"])
def test_the_progressive_forms_of_a_real_slice_are_those_of_its_sequential_form(
    midrc_ml_data: Path, syntax: str
) -> None:
    """The three were made from one set of coefficients: 12-bit JPEG, of which no second decoder is at hand."""
    by_syntax = {
        row["transfer_syntax"]: midrc_ml_data / "dicom" / row["path"]
        for row in real_files(midrc_ml_data)
        if row["path"].startswith("cornerstone/CTImage.dcm_JPEG")
    }
    assert np.array_equal(
        read_dicom(by_syntax[syntax].read_bytes()).stored, read_dicom(by_syntax[f"{J}51"].read_bytes()).stored
    )


def test_all_decoders_of_a_syntax_agree_on_real_files(midrc_ml_data: Path) -> None:
    agreed = Counter()
    for row in real_files(midrc_ml_data):
        syntax = row["transfer_syntax"]
        if len(DECODERS.get(syntax, ())) < 2 or row["frames"] != "1" or not row["photometric"].startswith("MONOCHROME"):
            continue
        data = pydicom.dcmread(midrc_ml_data / "dicom" / row["path"])
        if data.Rows * data.Columns > 1 << 20:
            continue  # the small ones are of every syntax too
        facts = Facts(
            syntax=UID(syntax),
            rows=data.Rows,
            columns=data.Columns,
            bits_allocated=data.BitsAllocated,
            bits_stored=data.BitsStored,
            high_bit=data.HighBit,
            signed=bool(data.PixelRepresentation),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                frame = get_frame(data.PixelData, 0, number_of_frames=1)
            except ValueError:
                continue
            found = {}
            for decoder in DECODERS[syntax]:
                try:
                    found[decoder.name] = decoder.decode(import_module(decoder.module), frame, facts)
                except Exception:
                    continue  # gdcm has no 12-bit JPEG
        if len(found) < 2:
            continue
        first, *others = found.values()
        mask = (1 << facts.bits_stored) - 1
        for other in others:
            difference = np.abs((first.astype(int) & mask) - (other.astype(int) & mask)).max()
            assert difference <= (LIMIT_JPEG if syntax in (f"{J}50", f"{J}51") else 0), row["path"]
        agreed[syntax] += 1
    assert set(agreed) == {f"{J}50", f"{J}57", f"{J}70", f"{J}80", f"{J}81", f"{J}90", f"{J}91"}


@pytest.mark.parametrize("syntax", ENCODERS)
def test_every_decoder_of_a_lossless_syntax_gives_the_encoded_values(
    syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = smooth()
    content = as_bytes(encoded(pixels, syntax))
    for decoder in DECODERS[syntax]:
        image = read_dicom(content)
        assert image.decoder == decoder.name
        assert np.array_equal(image.stored, pixels)
        monkeypatch.setitem(sys.modules, decoder.module, None)  # as if it were not installed: the next one's turn
    with pytest.raises(ImageError, match=r"^no decoder is installed for "):
        read_dicom(content)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_stream_that_is_cut_off_is_refused(syntax: str) -> None:
    pixels = smooth()
    frame = ENCODERS[syntax](pixels)
    for share in (0.02, 0.3, 0.6, 0.9, 0.97):
        with pytest.raises(ImageError, match=r"^pixels cannot be decoded \("):
            read_dicom(as_bytes(encoded(pixels, syntax, frame[: int(share * len(frame))])))


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_stream_of_another_size_than_the_header_is_refused(syntax: str) -> None:
    data = encoded(smooth(), syntax)
    data.Rows, data.Columns = data.Columns, data.Rows
    with pytest.raises(ImageError, match="the stream is not of the size that the header gives"):
        read_dicom(as_bytes(data))


def test_a_stream_in_several_fragments_is_put_together() -> None:
    pixels = smooth()
    data = encoded(pixels, f"{J}70")
    frame = ENCODERS[f"{J}70"](pixels)
    data.PixelData = encapsulate([frame], fragments_per_frame=4)
    assert np.array_equal(read_dicom(as_bytes(data)).stored, pixels)


def test_a_signed_slice_keeps_its_sign_in_every_lossless_syntax() -> None:
    signed = (smooth().astype(np.int16) - 1500).clip(-2048, 2047)
    for syntax in ENCODERS:
        data = film(signed, bits=12)
        data.file_meta.TransferSyntaxUID = UID(syntax)
        # As scanners write it: the bits of the sample as an unsigned number.
        data.PixelData = encapsulate([ENCODERS[syntax]((signed & 0xFFF).astype(np.uint16))])
        data["PixelData"].VR = "OB"
        image = read_dicom(as_bytes(data))
        assert image.stored.dtype == np.int16
        assert np.array_equal(image.stored, signed), syntax


def test_a_syntax_that_nobody_decodes_is_named() -> None:
    data = encoded(smooth(), f"{J}70")
    data.file_meta.TransferSyntaxUID = UID(f"{J}100")  # MPEG2 video
    with pytest.raises(ImageError, match="no decoder is known for MPEG2"):
        read_dicom(as_bytes(data))


def test_lossy_and_lossless_are_told_apart() -> None:
    assert set(DECODERS) >= LOSSY_SYNTAXES
    assert LOSSY_SYNTAXES & set(ENCODERS) == {f"{J}203"}  # which may be either
