"""A 2-D NIfTI image as a radiograph; a volume is refused."""

import zlib

import numpy as np

from midrc_ml.images.files import MAX_MEMBER_BYTES, ImageError

_GZIP = b"\x1f\x8b"
_GZIP_WITH_HEADER = 31  # zlib's wbits


def is_nifti(name: str) -> bool:
    """Whether a file is called so."""
    return name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(content: bytes, *, max_pixels: int) -> np.ndarray:
    """The one plane of a NIfTI-1 or NIfTI-2 file, float32 (row, column): rows downwards, columns to the patient's left.

    Columns of a lateral film, which run to the front or the back, are left as they are stored.
    A file that says nothing of its orientation (no sform, no qform) is taken as (column, row), as NIfTI stores planes.

    Raises:
        ImageError: not one, compressed beyond bounds, of colours, or a volume.
    """
    import nibabel  # late: few cohorts need it
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    if content.startswith(_GZIP):
        unpacking = zlib.decompressobj(wbits=_GZIP_WITH_HEADER)
        content = unpacking.decompress(content, MAX_MEMBER_BYTES)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise ImageError("a NIfTI file that is cut off, or unpacks to over 1 GiB")
    kind = nibabel.Nifti2Image if _is_second(content) else nibabel.Nifti1Image
    try:
        image = kind.from_bytes(content)
    except (HeaderDataError, ImageFileError, WrapStructError) as error:
        raise ImageError("not a readable NIfTI file") from error
    shape = image.shape
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        raise ImageError("a NIfTI volume; a radiograph has one plane")
    if not 0 < shape[0] * shape[1] <= max_pixels:
        raise ImageError("the header claims more pixels than a radiograph has")
    stored = np.asanyarray(image.dataobj)
    if stored.dtype.names:
        raise ImageError("a NIfTI file of colours; a radiograph has one value a pixel")
    plane = stored.astype(np.float32).reshape(shape[:2])
    if not (image.header["sform_code"] or image.header["qform_code"]):
        return np.ascontiguousarray(plane.T)
    # Columns of the affine: where the two axes lead, to the patient's left and right (x), front and back, up and down.
    affine = image.affine
    across, upright = np.abs(affine[0, :2]), np.abs(affine[2, :2])
    is_first_upright = upright[0] > upright[1] if abs(upright[0] - upright[1]) > 1e-3 else across[0] < across[1]
    if is_first_upright:
        plane, affine = plane.T, affine[:, [1, 0, 2, 3]]
    up = affine[2, 1] if abs(affine[2, 1]) >= abs(affine[1, 1]) else affine[1, 1]
    across = plane[::-1] if affine[0, 0] > 0 else plane  # NIfTI's x grows to the right, a film's to the left
    downwards = across[:, ::-1] if up > 0 else across
    return np.ascontiguousarray(downwards.T)


def _is_second(content: bytes) -> bool:
    """NIfTI-2 begins with the size of its header, 540, in either byte order."""
    return 540 in (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))
