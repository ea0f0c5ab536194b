"""What can go wrong with a request, and how long to wait before the next one.

No message here is made from the text of an exception of `requests`: it holds the address, and the address of
an object is signed, which is as good as a password while it lives.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

NO_PERMISSION = (401, 403)
NOT_THERE = (404, 410)
_BUSY = (408, 425, 429)
_FIRST_SERVER_ERROR = 500


class UnobtainableError(Exception):
    """This object cannot be had, whatever one does; the others can. The message is the reason.

    status: of the answer that said so; None where there was none.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class TemporaryError(Exception):
    """It may work the next time.

    wait_s: the seconds that the server asks for; None where it names none.
    """

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often, and after how long, a request is made again."""

    retries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_asked_s: float = 3600.0

    def wait(self, num_failed: int, error: TemporaryError, sleep: Callable[[float], object]) -> None:
        """Sleep before the next try: twice as long every time, and at least as long as the server asks for.

        num_failed: how many tries in a row have failed, this one included.

        Raises:
            UnobtainableError: there were enough tries, or the server asks for more than is sensible.
        """
        if num_failed > self.retries:
            raise UnobtainableError(f"{error} ({num_failed} tries)")
        if error.wait_s is not None and error.wait_s > self.longest_asked_s:
            raise UnobtainableError(f"{error}, and the server asks to wait {error.wait_s:.0f} s")
        doubled = min(self.first_wait_s * 2 ** (num_failed - 1), self.longest_wait_s)
        # Threads that failed together do not all come back together.
        sleep(max(doubled * random.uniform(0.5, 1.0), error.wait_s or 0.0))


def error_of_answer(response: requests.Response, what: str) -> Exception:
    """The error that a redirect, or an answer of status 400 or more, stands for. what: who answered, for the reason."""
    status = response.status_code
    reason = f"{what} answered HTTP {status}"
    if response.is_redirect:
        return UnobtainableError(f"{what} leads to another address (HTTP {status})", status=status)
    if status in NO_PERMISSION:
        return UnobtainableError(f"no permission: {reason}", status=status)
    if status in NOT_THERE:
        return UnobtainableError(f"not there: {reason}", status=status)
    if status in _BUSY or status >= _FIRST_SERVER_ERROR:
        return TemporaryError(reason, wait_s=_asked_wait(response.headers.get("Retry-After")))
    return UnobtainableError(reason, status=status)


def error_of_connection(error: requests.RequestException, what: str) -> Exception:
    """The error that an exception of `requests` stands for."""
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return UnobtainableError(f"{what}: its certificate cannot be trusted")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return UnobtainableError(f"{what}: its address is not one of the web")
    if isinstance(error, requests.Timeout):
        return TemporaryError(f"{what} did not answer in time")
    return TemporaryError(f"the connection to {what} broke off")


def _asked_wait(value: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date (RFC 9110, 10.2.3); None if it is neither."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdecimal():
        return float(value)
    try:
        day = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    day = day if day.tzinfo else day.replace(tzinfo=UTC)
    return max(0.0, (day - datetime.now(UTC)).total_seconds())
