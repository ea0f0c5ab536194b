"""2-D NIfTI files as nibabel writes them."""

import gzip

import nibabel
import numpy as np
import pytest

from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.radiograph import read_radiograph

# (row, column): head to feet, patient's right to left. Every pixel is another one.
FILM = np.arange(12, dtype=np.int16).reshape(3, 4)
RAS = np.diag([1.0, 1.0, 1.0, 1.0])


def coronal(*, to_right: bool, up: bool) -> np.ndarray:
    """The affine of a plane whose first axis runs across and whose second runs along the body."""
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = (1 if to_right else -1), (1 if up else -1), 1, 1
    return affine


def film(image: nibabel.Nifti1Image, name: str = "film.nii") -> np.ndarray:
    content = image.to_bytes()
    return read_radiograph(Member(name, gzip.compress(content) if name.endswith(".gz") else content)).pixels


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["film.nii", "film.nii.gz"])
@pytest.mark.parametrize(("to_right", "up"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_plane_is_turned_upright_by_its_affine(kind: type, name: str, to_right: bool, up: bool) -> None:
    """x grows to the patient's right here when `to_right`: such a film begins at the left, so that it is mirrored."""
    stored = FILM.T  # (column, row)
    stored = stored[::-1] if to_right else stored
    stored = stored[:, ::-1] if up else stored
    image = kind(np.ascontiguousarray(stored)[:, :, None], coronal(to_right=to_right, up=up))
    assert (film(image, name) == FILM).all()


def test_axes_in_the_other_order_give_the_same_film() -> None:
    affine = coronal(to_right=False, up=False)[:, [1, 0, 2, 3]]
    assert (film(nibabel.Nifti1Image(FILM, affine)) == FILM).all()


def test_a_lateral_film_stands_upright_in_either_order_of_its_axes() -> None:
    to_the_back_and_down = np.zeros((4, 4))
    to_the_back_and_down[1, 0], to_the_back_and_down[2, 1] = -1, -1
    to_the_back_and_down[0, 2], to_the_back_and_down[3, 3] = 1, 1
    assert (film(nibabel.Nifti1Image(FILM.T, to_the_back_and_down)) == FILM).all()
    assert (film(nibabel.Nifti1Image(FILM, to_the_back_and_down[:, [1, 0, 2, 3]])) == FILM).all()


def test_without_an_orientation_the_plane_is_taken_as_it_is_stored() -> None:
    image = nibabel.Nifti1Image(FILM.T, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    assert (film(image) == FILM).all()


def test_scaled_values_are_the_real_ones() -> None:
    image = nibabel.Nifti1Image(FILM, coronal(to_right=False, up=False)[:, [1, 0, 2, 3]])
    image.header.set_slope_inter(2.0, -5.0)
    content = bytearray(nibabel.Nifti1Image(FILM, image.affine).to_bytes())
    content[112:120] = np.array([2.0, -5.0], dtype="<f4").tobytes()  # scl_slope, scl_inter
    assert (read_radiograph(Member("a.nii", bytes(content))).pixels == FILM * 2.0 - 5.0).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (nibabel.Nifti1Image(np.zeros((4, 4, 3), dtype=np.int16), RAS).to_bytes(), "a NIfTI volume"),
        (
            nibabel.Nifti1Image(np.zeros((4, 4, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), RAS).to_bytes(),
            "a NIfTI file of colours",
        ),
        (gzip.compress(nibabel.Nifti1Image(FILM, RAS).to_bytes())[:-9], "cut off"),
        (nibabel.Nifti1Image(FILM, RAS).to_bytes()[:352], "not a readable NIfTI file"),
        (b"\x00" * 400, "not a readable NIfTI file"),
        (b"", "not a readable NIfTI file"),
    ],
    ids=["volume", "colours", "cut off", "header alone", "zeros", "empty"],
)
def test_what_is_no_film_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read_radiograph(Member("a.nii", content))


def test_a_small_file_that_unpacks_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midrc_ml.images.nifti.MAX_MEMBER_BYTES", 1 << 20)
    with pytest.raises(ImageError, match="unpacks to over"):
        read_radiograph(Member("a.nii.gz", gzip.compress(bytes(4 << 20))))
