"""Studies as a MONAI dataset, item by item and in batches."""

import monai.data
import numpy as np
import pandas as pd
import pytest
import torch
from monai.transforms import Compose, Lambdad, ScaleIntensityRanged

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import CachedImages

SIZE = 4


@pytest.fixture
def images() -> CachedImages:
    """Six images in two shards, of which one cannot be read; image i is filled with 10 i, its corner is 10 i + 1."""
    pixels = np.stack([np.full((SIZE, SIZE), 10 * number, np.uint8) for number in range(6)])
    pixels[:, 0, SIZE - 1] += 1
    place = np.array([(0, 0), (0, 1), (-1, -1), (1, 0), (1, 1), (1, 2)])
    return CachedImages(
        shards=[pixels[:2], pixels[3:]],
        place=place,
        reasons=[None, None, "an empty file", None, None, None],
        record_shape=(SIZE, SIZE),
    )


@pytest.fixture
def studies() -> pd.DataFrame:
    return pd.DataFrame(
        {"study_id": ["s5", "s0", "s4", "s1", "s3"], "label": [1, 0, 1.0, 0, 1], "image": [5, 0, 4, 1, 3]}
    )


def test_it_is_a_monai_dataset_of_as_many_items_as_studies(images: CachedImages, studies: pd.DataFrame) -> None:
    dataset = StudyDataset(studies, images)
    assert isinstance(dataset, monai.data.Dataset)
    assert len(dataset) == 5


def test_an_item_has_image_label_study_id_and_index(images: CachedImages, studies: pd.DataFrame) -> None:
    item = StudyDataset(studies, images)[2]
    assert set(item) == {"image", "label", "study_id", "index"}
    assert (item["study_id"], item["index"]) == ("s4", 2)
    assert (item["label"].dtype, item["label"].shape, item["label"].item()) == (torch.float32, (), 1.0)
    assert (item["image"].dtype, item["image"].shape) == (torch.uint8, (1, SIZE, SIZE))
    assert item["image"][0].tolist() == [[40, 40, 40, 41], [40] * 4, [40] * 4, [40] * 4]


def test_a_negative_index_counts_from_the_end(images: CachedImages, studies: pd.DataFrame) -> None:
    item = StudyDataset(studies, images)[-1]
    assert item["study_id"] == "s3"
    assert torch.equal(item["image"], StudyDataset(studies, images)[4]["image"])


def test_a_batch_is_its_items_together(images: CachedImages, studies: pd.DataFrame) -> None:
    dataset = StudyDataset(studies, images)
    batch = dataset.batch([3, 0, 3])
    assert torch.equal(batch["image"], torch.stack([dataset[row]["image"] for row in (3, 0, 3)]))
    assert batch["label"].tolist() == [0.0, 1.0, 0.0]
    assert batch["study_id"] == ["s1", "s5", "s1"]
    assert batch["index"].tolist() == [3, 0, 3]
    assert batch["image"].dtype == torch.uint8


def test_a_monai_transform_is_applied_to_items_and_to_every_item_of_a_batch(
    images: CachedImages, studies: pd.DataFrame
) -> None:
    transform = Compose(
        [
            ScaleIntensityRanged("image", a_min=0, a_max=50, b_min=0.0, b_max=1.0),
            Lambdad("image", lambda image: image.flip(-1)),
        ]
    )
    dataset = StudyDataset(studies, images, transform)
    expected = torch.tensor([[0.82, 0.8, 0.8, 0.8]] + [[0.8] * 4] * 3)  # image 4: 40 / 50, its corner now on the left
    torch.testing.assert_close(torch.as_tensor(dataset[2]["image"])[0], expected)
    batch = dataset.batch([2, 0])
    torch.testing.assert_close(batch["image"], torch.stack([torch.as_tensor(dataset[row]["image"]) for row in (2, 0)]))
    assert batch["study_id"] == ["s4", "s5"]


def test_monais_own_loader_reads_it(images: CachedImages, studies: pd.DataFrame) -> None:
    dataset = StudyDataset(studies, images)
    found = list(monai.data.DataLoader(dataset, batch_size=2))
    assert [batch["study_id"] for batch in found] == [["s5", "s0"], ["s4", "s1"], ["s3"]]
    assert torch.equal(found[1]["image"], dataset.batch([2, 3])["image"])
    assert torch.equal(found[1]["label"], dataset.batch([2, 3])["label"])


def test_an_unreadable_image_is_told_and_not_replaced(images: CachedImages) -> None:
    dataset = StudyDataset(pd.DataFrame({"study_id": ["s2"], "label": [0.0], "image": [2]}), images)
    with pytest.raises(IndexError, match="an empty file"):
        dataset.batch([0])
    with pytest.raises(IndexError, match="an empty file"):
        dataset[0]


@pytest.mark.parametrize("order", [[4, 2, 0], np.array([4, 2, 0]), torch.tensor([4, 2, 0])])
def test_a_batch_follows_the_order_that_is_asked_for(
    images: CachedImages, studies: pd.DataFrame, order: list[int] | np.ndarray | torch.Tensor
) -> None:
    batch = StudyDataset(studies, images).batch(order)
    assert batch["index"].tolist() == [4, 2, 0]
    assert batch["study_id"] == ["s3", "s4", "s5"]
    assert batch["image"][:, 0, 1, 1].tolist() == [30, 40, 50]


def test_labels_of_a_regression_keep_their_fractions(images: CachedImages) -> None:
    table = pd.DataFrame({"study_id": ["a", "b"], "label": [3.5, 0.25], "image": [0, 1]})
    assert StudyDataset(table, images).batch([1, 0])["label"].tolist() == [0.25, 3.5]


def test_the_images_of_a_batch_are_copies(images: CachedImages, studies: pd.DataFrame) -> None:
    dataset = StudyDataset(studies, images)
    dataset.batch([0])["image"].fill_(0)
    dataset[0]["image"].fill_(0)
    assert dataset[0]["image"][0, 1, 1] == 50
