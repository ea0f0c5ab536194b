"""IDC collections: through a stand-in for the client of idc-index, and its own index where it is installed."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from midrc_ml.downloads import idc
from midrc_ml.downloads.files import alone_in
from midrc_ml.downloads.idc import IdcSelection, fetch_idc, idc_client, list_series, summary
from midrc_ml.errors import InputError


def series(patient: str, study: str, uid: str, modality: str, count: int, size: int) -> dict[str, Any]:
    return {
        "collection_id": "covid_19_ny_sbu",
        "PatientID": patient,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": uid,
        "Modality": modality,
        "instanceCount": count,
        "series_size_MB": size / 1e6,
        "license_short_name": "CC BY 4.0",
        "source_DOI": "10.7937/tcia.bbag-2923",
    }


class Client:
    """What of `IDCClient` is used: its index, and downloads of which some series may stay away."""

    def __init__(self) -> None:
        self.index = pd.DataFrame(
            [
                series("A1", "1.1", "1.1.1", "CR", 2, 20),
                series("A1", "1.2", "1.2.1", "CT", 3, 3_000_000),
                series("A2", "2.1", "2.1.1", "DX", 1, 40),
            ]
        )
        self.without: set[str] = set()
        self.asked: list[list[str]] = []

    def sql_query(self, sql: str) -> pd.DataFrame:
        match = re.search(r"collection_id IN \((.*?)\) ORDER BY", sql)
        assert match is not None
        return self.index[self.index["collection_id"].isin(match[1].replace("'", "").split(", "))]

    def download_from_selection(
        self, *, downloadDir: str, seriesInstanceUID: list[str], dirTemplate: str, **rest: Any
    ) -> None:
        assert rest["use_s5cmd_sync"]
        self.asked.append(seriesInstanceUID)
        for row in self.index.itertuples():
            if row.SeriesInstanceUID not in seriesInstanceUID or row.SeriesInstanceUID in self.without:
                continue
            place = dirTemplate.replace("%PatientID", row.PatientID).replace("%StudyInstanceUID", row.StudyInstanceUID)
            folder = Path(downloadDir, place.replace("%SeriesInstanceUID", row.SeriesInstanceUID))
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(row.instanceCount):
                (folder / f"{number}.dcm").write_bytes(bytes(round(row.series_size_MB * 1e6) // row.instanceCount))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(idc, "idc_client", lambda: client)
    return client


def selection(**chosen: Any) -> IdcSelection:
    return IdcSelection(collections=["covid_19_ny_sbu"], **chosen)


def test_a_selection_is_by_patient_and_modality(client: Client) -> None:
    def chosen(**by: Any) -> list[str]:
        return list_series(client, selection(**by))["SeriesInstanceUID"].tolist()

    assert chosen() == ["1.1.1", "1.2.1", "2.1.1"]
    assert chosen(patients=["A1"]) == ["1.1.1", "1.2.1"]
    assert chosen(patients=["A1"], modalities=["CR", "DX"]) == ["1.1.1"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (IdcSelection(collections=[]), r"no collection is asked for"),
        (IdcSelection(collections=["ny_sbu"]), r"IDC has no collection ny_sbu; names are as on"),
        (selection(patients=["A1", "A7"]), r"--patients: 1 of 2 are not in covid_19_ny_sbu: A7"),
        (selection(modalities=["MG"]), r"--modality: 1 of 1 are not in covid_19_ny_sbu: MG"),
        (selection(patients=["A2"], modalities=["CT"]), r"these patients have no series of these modalities"),
    ],
)
def test_what_is_not_there_is_named(client: Client, asked: IdcSelection, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list_series(client, asked)


def test_a_quote_in_a_name_stays_in_it(client: Client) -> None:
    with pytest.raises(InputError, match=r"no collection x' OR '1'='1"):
        list_series(client, IdcSelection(collections=["x' OR '1'='1"]))


def test_a_dry_run_lists_sizes_and_licences_and_fetches_nothing(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch_idc(selection(), folder=str(tmp_path / "x"), dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "covid_19_ny_sbu CR: 1 patients, 1 studies, 1 series, 20 B",
        "covid_19_ny_sbu CT: 1 patients, 1 studies, 1 series, 3.0 MB",
        "covid_19_ny_sbu DX: 1 patients, 1 studies, 1 series, 40 B",
        "licence CC BY 4.0: 3 series, to be cited as doi 10.7937/tcia.bbag-2923",
    ]
    assert client.asked == []
    assert not (tmp_path / "x").exists()


def test_a_selection_is_fetched_with_its_listing(client: Client, tmp_path: Path) -> None:
    assert fetch_idc(selection(modalities=["CR"]), folder=str(tmp_path), dry_run=False)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("[!.]*") if path.is_file()) == [
        "A1/1.1/1.1.1/0.dcm",
        "A1/1.1/1.1.1/1.dcm",
        "covid_19_ny_sbu_series.csv",
    ]
    listing = pd.read_csv(tmp_path / "covid_19_ny_sbu_series.csv", dtype=str)
    assert listing[["PatientID", "SeriesInstanceUID", "license_short_name"]].values.tolist() == [
        ["A1", "1.1.1", "CC BY 4.0"]
    ]


def test_a_second_start_asks_only_for_what_is_not_whole(client: Client, tmp_path: Path) -> None:
    client.without = {"2.1.1"}
    assert not fetch_idc(selection(), folder=str(tmp_path), dry_run=False)
    reasons = pd.read_csv(tmp_path / "not_downloaded.csv", dtype=str).set_index("SeriesInstanceUID")["reason"]
    assert reasons.to_dict() == {"2.1.1": "0 of 1 files are there"}
    client.without = set()
    (tmp_path / "A1/1.1/1.1.1/0.dcm").write_bytes(b"cut")
    assert fetch_idc(selection(), folder=str(tmp_path), dry_run=False)
    assert client.asked[1] == ["1.1.1", "2.1.1"]
    assert not (tmp_path / "not_downloaded.csv").exists()
    assert fetch_idc(selection(), folder=str(tmp_path), dry_run=False)
    assert len(client.asked) == 2


def test_a_torn_file_of_a_killed_fetch_is_removed_and_its_series_fetched_again(client: Client, tmp_path: Path) -> None:
    place = tmp_path / "A2/2.1/2.1.1"
    place.mkdir(parents=True)
    (place / "0.dcm1234567890").write_bytes(bytes(40))  # s5cmd has made it as long as the image
    (tmp_path / "0.dcm1").touch()  # not in a series
    assert fetch_idc(selection(modalities=["DX"]), folder=str(tmp_path), dry_run=False)
    assert [path.name for path in place.iterdir()] == ["0.dcm"]
    assert (tmp_path / "0.dcm1").exists()
    (place / "0.dcm77").write_bytes(bytes(40))
    assert fetch_idc(selection(modalities=["DX"]), folder=str(tmp_path), dry_run=False)
    assert [path.name for path in place.iterdir()] == ["0.dcm"]
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1.dcm.tmp", "1 of the files there are none of IDC; remove 1.dcm.tmp"),
        ("1.dcm", "2 files are there, but the series has 1, as after a change of the IDC version; remove its folder"),
    ],
)
def test_a_surplus_file_of_a_series_is_said(client: Client, tmp_path: Path, name: str, reason: str) -> None:
    place = tmp_path / "A2/2.1/2.1.1"
    place.mkdir(parents=True)
    (place / name).write_bytes(b"x")
    assert not fetch_idc(selection(modalities=["DX"]), folder=str(tmp_path), dry_run=False)
    assert pd.read_csv(tmp_path / "not_downloaded.csv")["reason"].tolist() == [reason]
    (place / name).unlink()
    (place / ".DS_Store").touch()
    assert fetch_idc(selection(modalities=["DX"]), folder=str(tmp_path), dry_run=False)


def test_two_downloads_do_not_write_into_one_folder(client: Client, tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(InputError, match=r"another download is writing into"):
        fetch_idc(selection(), folder=str(tmp_path), dry_run=False)
    assert client.asked == []


def test_a_disk_without_room_is_said_first(client: Client, tmp_path: Path) -> None:
    client.index["series_size_MB"] = 1e12
    with pytest.raises(InputError, match=r"free, but 3000000.00 TB are still to come"):
        fetch_idc(selection(), folder=str(tmp_path), dry_run=False)
    assert client.asked == []


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("idc_index") is None, reason="idc-index is not installed: pip install 'midrc_ml[idc]'"
)
def test_the_index_of_idc_has_what_the_collections_papers_count() -> None:
    # RICORD 1c: 361 patients, 998 studies (doi 10.7937/91ah-v663); NY-SBU: 1,384 patients (doi 10.7937/tcia.bbag-2923).
    client = idc_client()
    ricord = list_series(client, IdcSelection(collections=["midrc_ricord_1c"]))
    assert (ricord["PatientID"].nunique(), ricord["StudyInstanceUID"].nunique()) == (361, 998)
    stony_brook = list_series(client, IdcSelection(collections=["covid_19_ny_sbu"]))
    assert stony_brook["PatientID"].nunique() == 1384
    assert summary(stony_brook)[-1].startswith("licence CC BY 4.0")
    assert summary(ricord)[-1].startswith("licence CC BY-NC 4.0")
