"""The image cache built by a Ray cluster of two nodes on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.images.cache import ImageCache
from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph
from midrc_ml.images.recipe import Recipe


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    ray_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed: pip install 'midrc_ml[ray]'")
    cluster = ray_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
def test_two_nodes_give_the_records_that_one_process_gives(address: str, tmp_path: Path) -> None:
    files = []
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 65536, (48, 40), dtype=np.uint16)
        files.append(str(tmp_path / f"{number}.png"))
        Path(files[-1]).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (tmp_path / "7.png").write_bytes(b"")
    recipe = Recipe(size=32)
    images = ImageCache(cache_dir=str(tmp_path / "cache"), recipe=recipe).load(files, num_processes=1, ray=address)
    assert [number for number, reason in enumerate(images.reasons) if reason] == [7]
    for number in (0, 30, 59):
        content = Path(files[number]).read_bytes()
        assert np.array_equal(images.gather([number])[0], recipe.apply(read_radiograph(Member("x.png", content))))


def test_a_cluster_that_is_asked_for_without_ray_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray is not installed: pip install 'midrc_ml\[ray\]'"):
        ImageCache(cache_dir=str(tmp_path), recipe=Recipe()).load(
            [str(tmp_path / "x.png")], num_processes=1, ray="auto"
        )
