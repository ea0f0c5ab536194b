"""One line that says how far a download is, how fast, and how long it will take."""

import sys
import threading
import time
from collections import deque
from typing import TextIO

_WINDOW_S = 30.0
_EVERY_S = {True: 0.5, False: 30.0}  # on a terminal the line is rewritten; elsewhere it becomes one more line


class Progress:
    """Counts bytes and files of a transfer, from several threads, and shows them on `stream`."""

    def __init__(self, *, num_files: int, num_bytes: int | None, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._num_files, self._num_bytes = num_files, num_bytes
        self._done_files = self._failed = self._done_bytes = self._width = 0
        self._lock = threading.Lock()
        self._next = 0.0
        self._seen: deque[tuple[float, int]] = deque()

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
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + _EVERY_S[self._is_terminal]
        line = self.line(now)
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def line(self, now: float) -> str:
        """The line, at the time `now` in seconds of `time.monotonic`."""
        with self._lock:
            done_files, failed, done_bytes = self._done_files, self._failed, self._done_bytes
            num_bytes = self._num_bytes
        self._seen.append((now, done_bytes))
        while len(self._seen) > 2 and self._seen[0][0] < now - _WINDOW_S:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        rate = max(0.0, (done_bytes - self._seen[0][1]) / seconds) if seconds > 0 else 0.0
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


def size_text(num_bytes: float) -> str:
    """`12.3 MB`: powers of 1000, as disks and the portal count."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.2f} TB"


def time_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
