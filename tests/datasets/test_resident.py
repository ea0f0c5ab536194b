"""Images on the device are those of the cache."""

import numpy as np
import pandas as pd
import pytest
import torch

from midrc_ml.datasets import resident
from midrc_ml.datasets.resident import ResidentImages, on_device
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.images.cache import CachedImages

CPU = torch.device("cpu")


@pytest.fixture
def images() -> CachedImages:
    """Seven images in two shards, the third of which cannot be read."""
    pixels = np.random.default_rng(0).integers(0, 255, (8, 4, 5)).astype(np.uint8)
    place = np.array([[0, 0], [0, 1], [-1, -1], [1, 3], [0, 2], [1, 0], [1, 1]])
    reasons = [None, None, "no image", None, None, None, None]
    return CachedImages(shards=[pixels[:4], pixels[4:]], place=place, reasons=reasons, record_shape=(4, 5))


def test_they_are_the_images_of_the_cache_in_any_order(images: CachedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_AT_ONCE", 2)
    held = ResidentImages(images, [5, 0, 4, 3, 1, 5], CPU)
    wanted = np.array([3, 3, 0, 5, 1])
    assert np.array_equal(held.gather(wanted).numpy(), images.gather(wanted))
    for other in (6, 2):  # 6 lies behind all that are held, 2 between them
        with pytest.raises(IndexError):
            held.gather(np.array([other]))


def test_a_dataset_serves_the_same_batches_from_them(images: CachedImages) -> None:
    studies = pd.DataFrame({"study_id": list("abc"), "label": [0.0, 1.0, 1.0], "image": [5, 0, 3]})
    on_host = StudyDataset(studies, images).batch([2, 0])
    held = StudyDataset(studies, ResidentImages(images, [0, 3, 5], CPU)).batch([2, 0])
    assert torch.equal(on_host["image"], held["image"])
    assert held["image"].shape == (2, 1, 4, 5)


def test_on_a_cpu_they_stay_in_the_cache_unless_they_are_wanted(images: CachedImages) -> None:
    assert on_device(images, [0, 1], CPU, wanted=None) is images
    assert on_device(images, [0, 1], CPU, wanted=False) is images
    assert isinstance(on_device(images, [0, 1], CPU, wanted=True), ResidentImages)


def test_on_a_gpu_they_have_to_fit(images: CachedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (39, 100))  # bytes; two images take 40
    assert on_device(images, [0, 1, 1], gpu, wanted=None) is images
    with pytest.raises(InputError, match=r"compute.resident is true, but the images take .* compute.resident=false"):
        on_device(images, [0, 1, 1], gpu, wanted=True)
