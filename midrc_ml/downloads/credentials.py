"""The API key of a Gen3 portal: from a file or the environment, and never shown.

A key is a JSON web token: who made it (`iss`) and until when it lives (`exp`) stand in it and are looked at here,
so that an expired key, or one of another portal, is said before anything is asked. Its signature is the
portal's to check.
"""

import base64
import json
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from midrc_ml.errors import InputError

ENVIRONMENT = "GEN3_API_KEY"
FOLDER = "~/.gen3"
STANDARD = f"{FOLDER}/credentials.json"
NEW_KEY = (
    "log in to the portal, choose Profile, Create API key, Download json, "
    f"and save it as {STANDARD}; a key lives 30 days"
)
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")
_BEGIN_OF_TOKEN = "eyJ"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key and where it came from. `content` is what the portal gave: `{"api_key": ..., "key_id": ...}`."""

    content: dict[str, str] = field(repr=False)
    source: str
    issuer: str
    expires: datetime | None

    def check_is_for(self, endpoint: str) -> None:
        """Refuse to send this key to a portal that did not make it, or in the open.

        Raises:
            InputError: another portal, an expired key, or no encryption.
        """
        check_endpoint(endpoint)
        if origin_of(self.issuer) != origin_of(endpoint):
            raise InputError(
                f"the API key from {self.source} is one of {origin_of(self.issuer)}, so it is not sent to "
                f"{origin_of(endpoint)}; give that portal's key with --credentials FILE, or --endpoint"
            )
        parts = urlsplit(endpoint)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise InputError(f"--endpoint is {endpoint!r}; it must begin with https://, or the key could be read")
        if self.expires is not None and self.expires < datetime.now(UTC):
            raise InputError(f"the API key from {self.source} expired on {self.expires:%Y-%m-%d}; {NEW_KEY}")


def find_api_key(file: str | None) -> ApiKey:
    """The key of `--credentials FILE`, else of GEN3_API_KEY, else of ~/.gen3/credentials.json.

    As for the gen3 package, GEN3_API_KEY is a file, or the name of one in ~/.gen3; the key itself, or the text
    of such a file, are taken as well.

    Raises:
        InputError: there is none, or what is there is not a key. No message shows what was read.
    """
    if file is not None:
        if not _is_file(path := Path(file).expanduser()):  # it may be the key itself: it is not shown
            raise InputError(f"--credentials does not name a file that is there; {NEW_KEY}")
        is_shown = _BEGIN_OF_TOKEN not in file and "{" not in file
        return _of_file(path, f"--credentials {file}" if is_shown else "--credentials")
    value = os.environ.get(ENVIRONMENT, "").strip()
    if value.startswith("{"):
        return _of_text(value, ENVIRONMENT)
    if _TOKEN.fullmatch(value) and value.count(".") > 1 and not Path(value).is_file():
        return _of_token({"api_key": value}, ENVIRONMENT)
    if value:
        named = Path(FOLDER).expanduser()
        places = [Path(value).expanduser(), named / value, named / f"{value}.json"]
        place = next((place for place in places if _is_file(place)), None)
        if place is None:  # what it holds may be a key that was cut short: it is not shown
            raise InputError(
                f"{ENVIRONMENT} is neither an API key nor a file that holds one, here or in {FOLDER}; "
                f"unset it to use {STANDARD}, or give --credentials FILE"
            )
        return _of_file(place, ENVIRONMENT)
    standard = Path(STANDARD).expanduser()
    if not standard.is_file():
        raise InputError(f"there is no API key: no {STANDARD}, no {ENVIRONMENT}, no --credentials; {NEW_KEY}")
    return _of_file(standard, STANDARD)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long text is no name of a file
        return False


def _of_file(path: Path, source: str) -> ApiKey:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{source}: {error.strerror}; {NEW_KEY}") from None
    except UnicodeDecodeError:
        raise _not_a_key(source) from None
    return _of_text(text, source)


def _of_text(text: str, source: str) -> ApiKey:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise _not_a_key(source) from None
    if not isinstance(content, dict) or not isinstance(content.get("api_key"), str):
        raise _not_a_key(source)
    return _of_token({name: value for name, value in content.items() if isinstance(value, str)}, source)


def _of_token(content: dict[str, str], source: str) -> ApiKey:
    try:
        payload = content["api_key"].split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        issuer = claims["iss"]
        origin_of(issuer)
        expires = datetime.fromtimestamp(claims["exp"], UTC) if "exp" in claims else None
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError, AttributeError, RecursionError):
        raise _not_a_key(source) from None
    return ApiKey(content=content, source=source, issuer=issuer, expires=expires)


def _not_a_key(source: str) -> InputError:
    return InputError(
        f'{source} does not hold an API key as the portal gives it, {{"api_key": ..., "key_id": ...}}; {NEW_KEY}'
    )


def check_endpoint(endpoint: str) -> None:
    """Refuse what is not the address of a portal.

    Raises:
        InputError: no scheme or host, or a login in it.
    """
    try:
        whole = urlsplit(endpoint).scheme in ("http", "https") and bool(origin_of(endpoint)) and "@" not in endpoint
    except ValueError:
        whole = False
    if not whole:
        raise InputError(f"--endpoint is not the address of a portal; give it as https://{_host_in(endpoint)}")


def origin_of(url: str) -> str:
    """`https://data.midrc.org` of an address: scheme, host, and the port where it is not the usual one.

    Raises:
        ValueError: there is no host, or what is there is none.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme))
    return f"{parts.scheme}://{host}" + ("" if usual else f":{parts.port}")


def _host_in(text: str) -> str:
    return text if re.fullmatch(r"[\w-]+(\.[\w-]+)+", text) else "data.midrc.org"
