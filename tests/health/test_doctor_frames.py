"""The trial frames are what they say: decoders that did not write them read them alike."""

from importlib import import_module

import numpy as np
import pytest
from pydicom.uid import UID

from midrc_ml.health.frames import FRAME, is_right, trial_facts, trial_file, trial_frame
from midrc_ml.images.decoders import DECODERS
from midrc_ml.images.dicom_pixels import read_dicom

J = "1.2.840.10008.1.2.4."


@pytest.mark.parametrize("syntax", list(DECODERS))
def test_every_transfer_syntax_has_a_trial_file_that_decodes_to_the_frame(syntax: str) -> None:
    image = read_dicom(trial_file(syntax))
    assert image.syntax == UID(syntax)
    assert is_right(image.stored, syntax)


@pytest.mark.parametrize(
    "syntax", [f"{J}50", f"{J}57", f"{J}70", f"{J}80", f"{J}81", f"{J}90", f"{J}91", f"{J}201", f"{J}203"]
)
def test_a_second_decoder_reads_the_same_frame(syntax: str) -> None:
    """GDCM has JPEG and CharLS code of its own, OpenJPEG reads what OpenJPH wrote."""
    second = DECODERS[syntax][1]
    samples = second.decode(import_module(second.module), trial_frame(syntax), trial_facts(syntax))
    assert is_right(np.asarray(samples), syntax)


def test_no_two_pixels_of_the_frame_are_equal() -> None:
    assert len(np.unique(FRAME)) == FRAME.size
    assert int(FRAME.max()) < 1 << 12


@pytest.mark.parametrize("syntax", [f"{J}70", f"{J}51"])
def test_a_transposed_flipped_or_shifted_frame_is_wrong(syntax: str) -> None:
    for wrong in (FRAME.T, FRAME[::-1], FRAME[:, ::-1], FRAME + 16, FRAME[:-1]):
        assert not is_right(wrong, syntax)
    assert is_right(FRAME, syntax)
