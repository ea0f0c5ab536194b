"""Each kind of file with an identifier, a path or pixels in it; and a cohort's own ids in all of them."""

import base64
import gzip
import json
import pickle
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from midrc_ml.audits.privacy.artifact_text import PNG, paths_in, words_in
from midrc_ml.audits.privacy.artifacts import Identifiers, ScanResult, artifacts_entry, scan_artifacts
from midrc_ml.cohorts.reader import Tables

CASE, PATIENT = "419639-000025", "419639-000111"
STUDY = "1.2.826.0.1.3680043.10.474.419639.1234567890"
SERIES = "1.2.826.0.1.3680043.10.474.419639.9876543210"
Scan = Callable[..., ScanResult]


@pytest.fixture
def tables() -> Tables:
    return Tables.checked(
        origin="made up",
        cases=pd.DataFrame({"case_id": [CASE, "12"], "patient_id": [PATIENT, "12"]}),
        studies=pd.DataFrame({"study_id": [STUDY, "34"], "case_id": [CASE, "12"]}),
        series=pd.DataFrame(
            {"series_id": [SERIES, "56"], "study_id": [STUDY, "34"], "file": ["/data/x/film_0001.dcm", "/data/x/b.png"]}
        ),
    )


@pytest.fixture
def identifiers(tables: Tables) -> Identifiers:
    return Identifiers.of(tables, places=["/data/x/", "C:\\Data\\midrc", "/", "logs"])


@pytest.fixture
def found(tmp_path: Path, identifiers: Identifiers) -> Callable[..., dict[str, int]]:
    """{kind: count} of one file with this content."""

    def of(name: str, content: bytes | str, **allowed: list[str]) -> dict[str, int]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        scanned = scan_artifacts([path], identifiers, **{"allowed_pictures": [], **allowed})
        return {finding.kind: finding.count for finding in scanned.findings}

    return of


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, value: bytes) -> bytes:
        return struct.pack(">I4s", len(value), kind) + value + struct.pack(">I", zlib.crc32(kind + value))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\7"))
    return PNG + start + b"".join(chunk(*one) for one in chunks) + pixels + chunk(b"IEND", b"")


def test_short_ids_are_not_looked_for_and_are_counted(identifiers: Identifiers) -> None:
    assert {CASE.encode(), PATIENT.encode(), STUDY.encode(), SERIES.encode(), b"film_0001"} <= identifiers.ids
    assert not identifiers.ids & {b"12", b"34", b"56", b"b", b"b.png"}
    assert identifiers.too_plain == 3
    assert set(identifiers.places) == {b"/data/x", b"C:\\Data\\midrc"}


@pytest.mark.parametrize("name", ["a.json", "a.md", "a.csv", "a.yaml", "a.log", "a.txt", "MLmodel", "a.html"])
@pytest.mark.parametrize("one", [CASE, PATIENT, STUDY, SERIES, "film_0001.dcm"])
def test_ids_in_text_are_found(found: Callable[..., dict[str, int]], name: str, one: str) -> None:
    assert found(name, f'<p>seen: "{one}", twice ({one}).') == {"identifier": 1}


@pytest.mark.parametrize(
    "text",
    [
        *(f"{CASE}.dcm", f"frontal_{CASE}_1.png", f"case-{CASE}", f"{STUDY}.zip", f"x={CASE};", f"{SERIES}_0.nii"),
    ],
)
def test_ids_within_longer_words_are_found(found: Callable[..., dict[str, int]], text: str) -> None:
    assert found("a.log", text) == {"identifier": 1}


@pytest.mark.parametrize("text", ["419639-0000251", "x419639-000025", "419639", "0.419639", "12 of 34, 56", STUDY[:-1]])
def test_other_words_and_numbers_are_no_ids(found: Callable[..., dict[str, int]], text: str) -> None:
    assert found("a.json", json.dumps({"value": text})) == {}


def test_a_number_that_is_an_id_is_not_seen_in_the_digits_of_another() -> None:
    numbers = Identifiers(frozenset({b"7059267"}))
    assert numbers.among([b"0.7059267", b"12.7059267", b"1-7059267"]) == set()
    assert numbers.among([b"7059267"]) == numbers.among([b"7059267.dcm"]) == {b"7059267"}


@pytest.mark.parametrize(
    "text",
    [
        *("/home/x/midrc", "see /tmp/a.txt.", '"/work/a/b"', "file:///home/x", "path=(/root/.cache)", "root=/home/x"),
        *("C:\\Users\\x\\midrc", "D:/data/midrc", "\\\\server\\share", "[/data/x]"),
    ],
)
def test_absolute_paths_are_found(found: Callable[..., dict[str, int]], text: str) -> None:
    assert set(found("a.md", text)) == {"path"}
    assert set(found("a.json", json.dumps({"place": text}))) == {"path"}


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.org/a/b", "s3://bucket/a/b", "</div></p>", "<br/>", "1/2/3", "2026/01/31", "01/02/2026"),
        *("text/html", "image/png;q=0.9", "sensitivity / specificity", "and/or", "mg/dL/day", "../a/b", "./a/b"),
        *("a/b/c", "</a/b>", "// a comment", "/metrics", "e:\\", "N/A", "Note:\nfoo", "A:\nfoo\nbar", "\\d+\\w"),
        *("~/a/b", "<https://example.org/x/y>", "12:30:59", "d3.select('g').attr(x/y)"),
    ],
)
def test_what_only_looks_like_a_path_is_none(found: Callable[..., dict[str, int]], text: str) -> None:
    assert found("a.md", text) == {}
    assert found("a.html", f"<p>{text}</p>") == {}
    assert found("a.json", json.dumps({"said": text})) == {}


def test_ids_and_paths_in_tables_are_found(
    tmp_path: Path, identifiers: Identifiers, found: Callable[..., dict[str, int]]
) -> None:
    pd.DataFrame({"id": [CASE, STUDY, None], "n": [1, 2, 3]}).to_parquet(tmp_path / "ids.parquet")
    pd.DataFrame({"a": ["/data/x/c.png"]}).astype("category").to_parquet(tmp_path / "paths.parquet")
    pd.DataFrame({CASE: [0.5]}).to_parquet(tmp_path / "column.parquet")
    pd.DataFrame({"a": [b"\7\7"]}).to_parquet(tmp_path / "bytes.parquet")
    pd.DataFrame({"y": [0.5, 0.25], "site": ["a", "b"]}).to_parquet(tmp_path / "clean.parquet")
    scanned = scan_artifacts(sorted(tmp_path.glob("*.parquet")), identifiers, allowed_pictures=[])
    assert {(one.file, one.kind, one.count) for one in scanned.findings if one.file != "paths.parquet"} == {
        ("ids.parquet", "identifier", 2),
        ("column.parquet", "identifier", 1),
        ("bytes.parquet", "pixels", 1),
    }
    assert {one.kind for one in scanned.findings if one.file == "paths.parquet"} == {"path"}
    assert [path.name for path in scanned.held_back] == [
        "bytes.parquet",
        "column.parquet",
        "ids.parquet",
        "paths.parquet",
    ]
    assert found("numbers.parquet", (tmp_path / "clean.parquet").read_bytes()) == {}


def test_a_picture_passes_only_if_the_report_draws_it(found: Callable[..., dict[str, int]]) -> None:
    assert found("groups.png", png()) == {"pixels": 1}
    assert found("groups.png", png(), allowed_pictures=["figures/groups.png"]) == {}


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", f"Comment\0{CASE}".encode()),
        (b"zTXt", b"Comment\0\0" + zlib.compress(CASE.encode())),
        (b"iTXt", f"Comment\0\0\0en\0\0{CASE}".encode()),
        (b"iTXt", b"Comment\0\1\0en\0\0" + zlib.compress(CASE.encode())),
    ],
)
def test_what_a_picture_says_beside_its_pixels_is_read(
    found: Callable[..., dict[str, int]], chunk: tuple[bytes, bytes]
) -> None:
    assert found("groups.png", png(chunk), allowed_pictures=["groups.png"]) == {"identifier": 1}
    assert found("groups.png", png((b"tEXt", b"Software\0Matplotlib")), allowed_pictures=["groups.png"]) == {}


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.dcm", "a.nii", "a.nii.gz", "a.jpg", "a.tiff", "a.u8"])
def test_pixels_are_found_by_name(found: Callable[..., dict[str, int]], name: str) -> None:
    assert found(name, b"\1\2\3") == {"pixels": 1}


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\x93NUMPY", bytes(128) + b"DICM", b"II*\0", png()])
def test_pixels_are_found_by_their_first_bytes(found: Callable[..., dict[str, int]], start: bytes) -> None:
    assert found("model.bin", start + bytes(200)) == {"pixels": 1}


def test_pictures_in_pages_have_to_be_figures(tmp_path: Path, identifiers: Identifiers) -> None:
    figure, page = tmp_path / "groups.png", tmp_path / "report.html"
    figure.write_bytes(png())
    other = png((b"tEXt", b"a\0b"))

    def scanned(*pictures: bytes) -> ScanResult:
        page.write_text(
            "".join(f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in pictures)
        )
        return scan_artifacts([page, figure], identifiers, allowed_pictures=["groups.png"])

    assert (scanned(png()).findings, scanned(png()).pictures) == ([], 1)
    assert [(one.file, one.kind, one.count) for one in scanned(png(), other).findings] == [("report.html", "pixels", 1)]


def test_ids_in_models_are_found(tmp_path: Path, found: Callable[..., dict[str, int]]) -> None:
    weights = np.random.default_rng(0).normal(size=50_000).astype("<f4").tobytes()
    for protocol in (2, 3, 4, 5):
        for one in (CASE, STUDY, SERIES):
            assert found("a.pkl", pickle.dumps({"w": weights, one: [one, 1]}, protocol)) == {"identifier": 1}
    assert found("a.pkl", pickle.dumps({"w": weights, "a": ["b", 1]})) == {}
    header = json.dumps({"__metadata__": {"from": CASE}}).encode()
    assert found("a.safetensors", struct.pack("<Q", len(header)) + header + weights) == {"identifier": 1}
    for inside, kinds in ((pickle.dumps(CASE), {"identifier": 1}), (png(), {"pixels": 1}), (weights, {})):
        with zipfile.ZipFile(tmp_path / "made.zip", "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr("archive/data.pkl", inside)
        assert found("a.pt", (tmp_path / "made.zip").read_bytes()) == kinds
    assert found("a.csv.gz", gzip.compress(CASE.encode())) == {"identifier": 1}


def test_an_id_across_two_chunks_is_found(
    found: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midrc_ml.audits.privacy.artifacts._CHUNK", 1 << 13)
    for place in range((1 << 13) - 20, (1 << 13) + 2):
        assert found("a.log", "word " * (place // 5) + " " * (place % 5) + CASE + " more words" * 900) == {
            "identifier": 1
        }


def test_damaged_files_are_held_back(found: Callable[..., dict[str, int]]) -> None:
    assert found("a.parquet", b"PAR1 and nothing more") == {"unread": 1}
    assert found("a.pt", b"PK\x03\x04 and nothing more") == {"unread": 1}


def test_the_entry_names_files_and_counts_but_no_id(tmp_path: Path, identifiers: Identifiers) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / f"{CASE}.txt").write_text("named by an id")
    (tmp_path / "ids.csv").write_text(f"{CASE}\n{PATIENT}\n/data/x/{STUDY}\n")
    (tmp_path / "clean.json").write_text("{}")
    artifacts = [folder, tmp_path / "ids.csv", tmp_path / "clean.json"]
    result = scan_artifacts(artifacts, identifiers, allowed_pictures=[])
    entry = artifacts_entry(result)
    assert (entry.check, entry.status, entry.value) == ("privacy", "fail", 2.0)
    assert list(result.held_back) == artifacts[:2]
    told = json.dumps(entry.as_dict())
    assert not [one for one in (CASE, PATIENT, STUDY, str(tmp_path), "/data/x") if one in told]
    assert {"file": "ids.csv", "kind": "identifier", "count": 3} in list(entry.details)
    assert "ids.csv: 3 identifiers" in entry.evidence
    assert "3 are too short or plain" in entry.evidence
    assert entry.what_to_do == "these files are kept in the run's folder and not uploaded"
    clean = artifacts_entry(scan_artifacts(artifacts[2:], identifiers, allowed_pictures=[]))
    assert (clean.status, clean.value, clean.what_to_do) == ("pass", 0.0, "nothing")
    assert artifacts_entry(scan_artifacts([], identifiers, allowed_pictures=[])).status == "not_applicable"


def test_many_ids_cost_no_more_than_few(tmp_path: Path) -> None:
    many = Identifiers(frozenset(f"{number:06d}-{number:06d}".encode() for number in range(200_000)))
    path = tmp_path / "a.json"
    rows = [{"part": "test", "value": number / 7, "low": number / 9} for number in range(20_000)]
    path.write_text(json.dumps(rows, indent=1))
    started = time.process_time()
    assert not scan_artifacts([path], many, allowed_pictures=[]).findings
    assert path.stat().st_size / (time.process_time() - started) > 2e6, "slower than 2 MB/s"


def test_words_are_the_same_in_text_and_in_bytes() -> None:
    text = b"one, seven77 and 1.2.3.4.5.6; _under_score_ -dash-ed- x.y end."
    assert words_in(text, is_text=True) >= {b"seven77", b"1.2.3.4.5.6", b"under_score", b"dash-ed"}
    assert words_in(text, is_text=True) <= words_in(text, is_text=False)
    assert words_in(b"", is_text=False) == words_in(b"ab", is_text=False) == set()
    assert paths_in(b"", is_json=True) == set()
