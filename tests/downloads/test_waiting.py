"""How long is waited, and what the line of progress says."""

import io
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from midrc_ml.downloads.failures import (
    Patience,
    TemporaryError,
    UnobtainableError,
    error_of_answer,
    error_of_connection,
)
from midrc_ml.downloads.progress import Progress
from midrc_ml.progress import size_text, time_text


def answer(status: int, retry_after: str | None = None) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    return response


def waits(patience: Patience, *errors: TemporaryError) -> list[float]:
    slept: list[float] = []
    for number, error in enumerate(errors, start=1):
        patience.wait(number, error, slept.append)
    return slept


def test_waits_double_up_to_the_longest_and_are_never_all_the_same() -> None:
    patience = Patience(retries=5, first_wait_s=1.0, longest_wait_s=4.0)
    slept = waits(patience, *[TemporaryError("x")] * 5)
    for seconds, most in zip(slept, [1, 2, 4, 4, 4], strict=True):
        assert most / 2 <= seconds <= most


def test_a_server_is_left_alone_as_long_as_it_asks_and_not_for_hours() -> None:
    assert waits(Patience(), TemporaryError("busy", wait_s=300.0)) == [300.0]
    with pytest.raises(UnobtainableError, match=r"busy, and the server asks to wait 7200 s"):
        waits(Patience(), TemporaryError("busy", wait_s=7200.0))


def test_a_server_that_asks_for_no_wait_does_not_use_up_the_tries_at_once() -> None:
    slept = waits(Patience(retries=3, first_wait_s=2.0), *[TemporaryError("x", wait_s=0.0)] * 3)
    for seconds, most in zip(slept, [2, 4, 8], strict=True):
        assert most / 2 <= seconds <= most


def test_after_the_retries_it_is_given_up() -> None:
    with pytest.raises(UnobtainableError, match=r"^x \(3 tries\)$"):
        waits(Patience(retries=2), *[TemporaryError("x", wait_s=0.0)] * 3)


@pytest.mark.parametrize(
    ("asked", "low", "high"), [("120", 120, 120), (timedelta(hours=1), 3590, 3600), (timedelta(hours=-1), 0, 0)]
)
def test_the_wait_that_is_asked_for_is_a_number_or_a_date(asked: str | timedelta, low: float, high: float) -> None:
    value = asked if isinstance(asked, str) else format_datetime(datetime.now(UTC) + asked, usegmt=True)
    error = error_of_answer(answer(429, value), "it")
    assert isinstance(error, TemporaryError)
    assert error.wait_s is not None
    assert low <= error.wait_s <= high


@pytest.mark.parametrize("value", [None, "soon", "-1", "\u00b2", "\u0663", "1.5", ""])
def test_a_wait_that_cannot_be_read_is_left_to_us(value: str | None) -> None:
    error = error_of_answer(answer(503, value), "it")
    assert isinstance(error, TemporaryError)
    assert error.wait_s is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, TemporaryError), (429, TemporaryError), (500, TemporaryError), (502, TemporaryError)]
    + [(status, UnobtainableError) for status in (400, 401, 403, 404, 410, 451)],
)
def test_an_answer_is_tried_again_only_where_that_can_help(status: int, kind: type) -> None:
    assert type(error_of_answer(answer(status), "it")) is kind


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectTimeout("https://h/x?sig"), "it did not answer in time"),
        (requests.ConnectionError("https://h/x?sig"), "the connection to it broke off"),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), "it: its certificate cannot be trusted"),
        (requests.exceptions.InvalidURL("https://h/x?sig"), "it: its address is not one of the web"),
    ],
)
def test_a_broken_connection_is_told_without_its_address(error: requests.RequestException, reason: str) -> None:
    assert str(error_of_connection(error, "it")) == reason


def test_the_line_says_how_far_how_fast_and_how_long() -> None:
    progress = Progress(num_files=1200, num_bytes=10_000_000_000, stream=io.StringIO())
    progress.line(100.0)
    for _ in range(3):
        progress.add_file()
    progress.add_bytes(1_000_000_000)
    # 1 GB in 20 s; 9 GB are left: 180 s
    assert progress.line(120.0) == "3 of 1,200 files, 1.0 GB of 10.0 GB, 50.0 MB/s, 3 min left"


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    progress = Progress(num_files=1, num_bytes=10**9, stream=io.StringIO())
    progress.line(0.0)
    for second in range(10, 200, 10):
        progress.add_bytes(10_000_000 if second < 150 else 1_000_000)
        line = progress.line(float(second))
    assert "100.0 kB/s" in line  # and not the 1 MB/s of the first minutes


def test_what_fails_is_counted_and_is_not_waited_for() -> None:
    progress = Progress(num_files=2, num_bytes=300, stream=io.StringIO())
    progress.line(0.0)
    progress.add_bytes(100)
    progress.give_up(100)
    assert progress.line(1.0) == "0 of 2 files, 100 B of 200 B, 100 B/s, 1 s left, 1 failed"


def test_without_sizes_no_time_is_promised() -> None:
    progress = Progress(num_files=2, num_bytes=None, stream=io.StringIO())
    progress.line(0.0)
    progress.add_bytes(100)
    assert progress.line(1.0) == "0 of 2 files, 100 B, 100 B/s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_is_written_over_and_elsewhere_a_line_comes_now_and_then() -> None:
    written = {}
    for stream in (Terminal(), io.StringIO()):
        progress = Progress(num_files=1, num_bytes=1, stream=stream)
        for _ in range(50):
            progress.show()
        progress.show(last=True)
        written[stream.isatty()] = stream.getvalue()
    assert written[True].count("\n") == 1
    assert written[True].startswith("\r")
    assert written[False].count("\n") == 2
    assert "\r" not in written[False]


def test_sizes_and_times_read_easily() -> None:
    assert [size_text(size) for size in (0, 999, 12_300_000, 295e9, 3.2e12)] == [
        "0 B",
        "999 B",
        "12.3 MB",
        "295.0 GB",
        "3.20 TB",
    ]
    assert [time_text(seconds) for seconds in (45, 90, 720, 11_100)] == ["45 s", "2 min", "12 min", "3 h 05 min"]
