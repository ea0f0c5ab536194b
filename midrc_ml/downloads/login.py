"""The access token of a portal: got for the API key, renewed, and sent to no other host.

gen3's own login follows redirects with the key, waits for an answer without end, and signs whatever address a
request ends at; so the token is asked for and set here.
"""

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase

from midrc_ml.downloads.credentials import NEW_KEY, ApiKey, origin_of
from midrc_ml.downloads.failures import (
    NO_PERMISSION,
    TemporaryError,
    UnobtainableError,
    error_of_answer,
    error_of_connection,
)
from midrc_ml.errors import InputError

_T = TypeVar("_T")
_RENEW_AT_MOST_EVERY_S = 60.0
_RENEW_AFTER = 0.75  # of a token's life
_ANSWERS_TO_A_BAD_KEY = (400, *NO_PERMISSION)


class Login(AuthBase):
    """Signs the requests to one portal, and makes an error of every answer that is refused or leads elsewhere.

    An error raised here comes before gen3's own, which would print the answer. Answers are read as UTF-8:
    exports name no encoding, and it would be guessed.
    """

    def __init__(self, endpoint: str, key: ApiKey, *, timeout_s: float) -> None:
        self.endpoint = endpoint
        self._key, self._timeout_s = key, timeout_s
        self._lock = threading.Lock()
        self._token: str | None = None
        self._renew_at = self._renewed_at = float("-inf")
        self.renewals = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request.

        Raises:
            UnobtainableError: it goes to another host.
        """
        if origin_of(str(request.url)) != origin_of(self.endpoint):
            raise UnobtainableError("the portal leads to another address, which the key is not for")
        request.headers["Authorization"] = f"Bearer {self._token}"
        request.register_hook("response", _checked)
        return request

    def ready(self) -> None:
        """Have a token that is good for some minutes; one thread gets it, the others wait.

        Raises:
            InputError: the portal does not take the key.
            UnobtainableError, TemporaryError: see `failures`.
        """
        with self._lock:
            if self._token is None or time.monotonic() > self._renew_at:
                self._get_token()

    def renew(self, renewals: int) -> bool:
        """Whether there is a newer token than after that many renewals; gets one, but not every second.

        Raises:
            As `ready`.
        """
        with self._lock:
            if self.renewals > renewals:
                return True
            if time.monotonic() - self._renewed_at < _RENEW_AT_MOST_EVERY_S:
                return False
            self._get_token()
            self._renewed_at = time.monotonic()
            self.renewals += 1
            return True

    def _get_token(self) -> None:
        answer = within(self._timeout_s, self._ask)
        if answer.status_code in _ANSWERS_TO_A_BAD_KEY:
            raise InputError(
                f"{self.endpoint} does not take the API key from {self._key.source} (any longer): create a new one: "
                f"{NEW_KEY}; then give the same line again"
            )
        if answer.is_redirect:
            raise UnobtainableError(f"the portal leads to another address (HTTP {answer.status_code})")
        if not answer.ok:
            raise error_of_answer(answer, "the portal")
        try:
            token = answer.json()["access_token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise TemporaryError("the portal gave no access token")
        self._token = token
        self._renew_at = time.monotonic() + _RENEW_AFTER * _life_s(token)

    def _ask(self) -> requests.Response:
        try:
            return requests.post(
                f"{self.endpoint}/user/credentials/cdis/access_token",
                json=self._key.content,
                auth=no_login,
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise error_of_connection(error, "the portal") from None


def within(seconds: float, call: Callable[..., _T], *arguments: Any) -> _T:
    """What the call gives; TemporaryError if it takes longer. It then goes on, alone, in a thread of its own."""
    result: Future[_T] = Future()

    def run() -> None:
        try:
            result.set_result(call(*arguments))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(seconds)
    except TimeoutError:
        raise TemporaryError(f"the portal did not answer within {seconds:g} s") from None


def no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from adding a login of ~/.netrc, which a bucket refuses beside a signature."""
    return request


def _checked(response: requests.Response, **settings: Any) -> requests.Response:
    if not response.ok or response.is_redirect:
        response.close()
        raise requests.HTTPError(f"HTTP {response.status_code}", response=response)
    response.encoding = "utf-8"
    return response


def _life_s(token: str) -> float:
    """Seconds that a token lives; endless where it does not say, or this machine's clock is wrong: a 401 tells then."""
    try:
        payload = token.split(".")[1]
        life_s = float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]) - time.time()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return float("inf")
    return life_s if life_s > 0 else float("inf")
