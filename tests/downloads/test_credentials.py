"""Where the key is found, what is refused, and that it is not shown."""

import json
import time
from pathlib import Path

import pytest
from portal_server import SECRET_KEY_PART, jwt

from midrc_ml.downloads.credentials import find_api_key
from midrc_ml.errors import InputError

MIDRC = "https://data.midrc.org"


def token(issuer: str = f"{MIDRC}/user", days: float = 10) -> str:
    return jwt({"iss": issuer, "exp": int(time.time() + days * 86400)}, SECRET_KEY_PART)


def key_file(path: Path, api_key: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"api_key": api_key, "key_id": "7"}))
    return path


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GEN3_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_of_the_option_comes_before_the_environment_and_that_before_the_standard_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file(tmp_path / ".gen3" / "credentials.json", token())
    assert find_api_key(None).source == "~/.gen3/credentials.json"
    monkeypatch.setenv("GEN3_API_KEY", str(key_file(tmp_path / "environment.json", token())))
    assert find_api_key(None).source == "GEN3_API_KEY"
    option = str(key_file(tmp_path / "option.json", token()))
    assert find_api_key(option).source == f"--credentials {option}"


@pytest.mark.parametrize("form", ["text", "token", "name", "name without ending", "path"])
def test_the_environment_holds_a_key_or_a_file_as_for_gen3(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_key = token()
    path = key_file(tmp_path / ".gen3" / "midrc.json", api_key)
    values = {
        "text": path.read_text(),
        "token": api_key,
        "name": "midrc.json",
        "name without ending": "midrc",
        "path": str(path),
    }
    monkeypatch.setenv("GEN3_API_KEY", values[form])
    assert find_api_key(None).content["api_key"] == api_key


def test_without_a_key_it_is_said_how_to_get_one() -> None:
    with pytest.raises(InputError, match=r"there is no API key: .* choose Profile, Create API key, .* 30 days"):
        find_api_key(None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"key_id": "1"}',
        '{"api_key": 3}',
        f'{{"api_key": "{SECRET_KEY_PART}"',
        "[" * 100_000,
        f'{{"api_key": "a.{SECRET_KEY_PART}.b"}}',
    ],
)
def test_a_file_that_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"does not hold an API key as the portal gives it") as error:
        find_api_key(str(path))
    assert SECRET_KEY_PART not in str(error.value)


@pytest.mark.parametrize("cut", [SECRET_KEY_PART, f"eyJh.{SECRET_KEY_PART}", "/x/" + SECRET_KEY_PART * 30])
def test_a_key_in_the_environment_that_was_cut_short_is_not_shown(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN3_API_KEY", cut)
    with pytest.raises(InputError, match=r"GEN3_API_KEY is neither an API key nor a file") as error:
        find_api_key(None)
    assert SECRET_KEY_PART not in str(error.value)


def test_a_key_in_the_place_of_its_file_is_not_shown(tmp_path: Path) -> None:
    for given in (
        token(),
        json.dumps({"api_key": token()}),
        SECRET_KEY_PART,
        f"./{SECRET_KEY_PART}.json",
        str(tmp_path),
        "",
    ):
        with pytest.raises(InputError, match=r"--credentials does not name a file that is there; log in") as error:
            find_api_key(given)
        assert SECRET_KEY_PART not in str(error.value)
    key_file(tmp_path / token(), "a.b.c")  # a file of that name
    with pytest.raises(InputError, match=r"^--credentials does not hold an API key"):
        find_api_key(token())


def test_a_key_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"api_key": token()}), encoding="utf-8-sig")
    assert find_api_key(str(tmp_path / "x.json")).issuer == f"{MIDRC}/user"


@pytest.mark.parametrize("issuer", ["http://[", "data.midrc.org", 5, None, "https://:443", "https://h:x"])
def test_a_key_of_no_portal_is_refused(tmp_path: Path, issuer: object) -> None:
    path = key_file(tmp_path / "x.json", jwt({"iss": issuer}, SECRET_KEY_PART))
    with pytest.raises(InputError, match=r"does not hold an API key as the portal gives it"):
        find_api_key(str(path))


@pytest.mark.parametrize(
    ("endpoint", "advice"),
    [
        ("data.midrc.org", "https://data.midrc.org"),
        ("staging.midrc.org", "https://staging.midrc.org"),
        ("https://[", "https://data.midrc.org"),
        ("https://user:password@data.midrc.org", "https://data.midrc.org"),
        ("ftp://data.midrc.org", "https://data.midrc.org"),
        ("https://data.midrc.org:x", "https://data.midrc.org"),
        ("", "https://data.midrc.org"),
    ],
)
def test_an_endpoint_that_is_no_address_is_refused(tmp_path: Path, endpoint: str, advice: str) -> None:
    key = find_api_key(str(key_file(tmp_path / "x.json", token())))
    with pytest.raises(
        InputError, match=r"^--endpoint is not the address of a portal; give it as " + advice + "$"
    ) as error:
        key.check_is_for(endpoint)
    assert "password" not in str(error.value)


def test_the_usual_port_and_the_case_of_a_host_make_no_other_portal(tmp_path: Path) -> None:
    key = find_api_key(str(key_file(tmp_path / "x.json", token())))
    key.check_is_for("https://Data.MIDRC.org:443/")
    with pytest.raises(InputError, match=r"so it is not sent to https://data.midrc.org:8443"):
        key.check_is_for("https://data.midrc.org:8443")


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    assert SECRET_KEY_PART not in repr(find_api_key(str(key_file(tmp_path / "x.json", token()))))


def test_an_expired_key_is_said_with_its_day(tmp_path: Path) -> None:
    path = key_file(tmp_path / "x.json", jwt({"iss": MIDRC, "exp": 1_700_000_000}, SECRET_KEY_PART))
    with pytest.raises(InputError, match=r"expired on 2023-11-14; log in to the portal"):
        find_api_key(str(path)).check_is_for(MIDRC)


def test_a_key_is_not_sent_to_another_portal(tmp_path: Path) -> None:
    key = find_api_key(str(key_file(tmp_path / "x.json", token())))
    key.check_is_for(MIDRC)
    with pytest.raises(InputError, match=r"is one of https://data.midrc.org, so it is not sent to https://evil.org"):
        key.check_is_for("https://evil.org")


def test_a_key_is_not_sent_in_the_open(tmp_path: Path) -> None:
    key = find_api_key(str(key_file(tmp_path / "x.json", token("http://data.midrc.org/user"))))
    with pytest.raises(InputError, match=r"must begin with https://"):
        key.check_is_for("http://data.midrc.org")
