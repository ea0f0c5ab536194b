"""One line that says how far a download is, how fast, and how long it will take."""

import threading
import time
from typing import TextIO

from midrc_ml.progress import Rate, StatusLine, size_text, time_text


class Progress:
    """Counts bytes and files of a transfer, from several threads, and shows them on `stream`."""

    def __init__(self, *, num_files: int, num_bytes: int | None, stream: TextIO | None = None) -> None:
        self._line, self._rate = StatusLine(stream), Rate()
        self._num_files, self._num_bytes = num_files, num_bytes
        self._done_files = self._failed = self._done_bytes = 0
        self._lock = threading.Lock()

    def add_bytes(self, num_bytes: int) -> None:
        """Bytes that arrived; negative for bytes that are thrown away."""
        with self._lock:
            self._done_bytes += num_bytes

    def add_file(self) -> None:
        """A file is finished."""
        with self._lock:
            self._done_files += 1

    def give_up(self, missing: int) -> None:
        """A file cannot be had. missing: its bytes that will not come."""
        with self._lock:
            self._failed += 1
            if self._num_bytes is not None:
                self._num_bytes -= missing

    def show(self, *, last: bool = False) -> None:
        """Write the line if it is time to; the last one always."""
        if last or self._line.is_due():
            self._line.write(self.line(time.monotonic()), last=last)

    def line(self, now: float) -> str:
        """The line, at the time `now` in seconds of `time.monotonic`."""
        with self._lock:
            done_files, failed, done_bytes = self._done_files, self._failed, self._done_bytes
            num_bytes = self._num_bytes
        rate = self._rate.at(now, done_bytes)
        parts = [f"{done_files:,} of {self._num_files:,} files"]
        if num_bytes is None:
            parts.append(size_text(done_bytes))
        else:
            parts.append(f"{size_text(done_bytes)} of {size_text(num_bytes)}")
        parts.append(f"{size_text(rate)}/s")
        if num_bytes is not None and rate > 0 and done_bytes < num_bytes:
            parts.append(f"{time_text((num_bytes - done_bytes) / rate)} left")
        if failed:
            parts.append(f"{failed:,} failed")
        return ", ".join(parts)
