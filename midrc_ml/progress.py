"""One line that says how far a long piece of work is, how fast, and how long it will take."""

import sys
import time
from collections import deque
from typing import TextIO

_WINDOW_S = 30.0
_EVERY_S = {True: 0.5, False: 30.0}  # on a terminal the line is rewritten; elsewhere it becomes one more line


class StatusLine:
    """A line on `stream` that is rewritten where that is a terminal, now and then a new one elsewhere."""

    def __init__(self, stream: TextIO | None = None, *, patient: bool = False) -> None:
        """patient: no line at once where that is no terminal, as work may be done soon."""
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._width = 0
        self._next = time.monotonic() + (_EVERY_S[False] if patient and not self._is_terminal else 0)

    def is_due(self) -> bool:
        """Whether it is time for the line; asked before it is made, because that takes time too."""
        return time.monotonic() >= self._next

    def write(self, line: str, *, last: bool = False) -> None:
        """Write the line."""
        self._next = time.monotonic() + _EVERY_S[self._is_terminal]
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


class Rate:
    """How much a second, over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def at(self, now: float, amount: float) -> float:
        """The rate at the time `now` in seconds of `time.monotonic`, when `amount` is done."""
        self._seen.append((now, amount))
        while len(self._seen) > 2 and self._seen[0][0] < now - _WINDOW_S:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return max(0.0, (amount - self._seen[0][1]) / seconds) if seconds > 0 else 0.0


class Progress:
    """Of `total` things (`what`, in the plural) how many are done: `1,200 of 5,000 files, 31/s, 2 min left`."""

    def __init__(self, title: str, total: int, what: str, stream: TextIO | None = None) -> None:
        self._title, self._total, self._what = title, total, what
        self._line, self._rate = StatusLine(stream, patient=True), Rate()
        self._rate.at(time.monotonic(), 0)

    def show(self, done: int, more: str = "") -> None:
        """Write the line if it is time to. more: what else there is to say."""
        if not self._line.is_due():
            return
        rate = self._rate.at(time.monotonic(), done)
        parts = [f"{done:,} of {self._total:,} {self._what}", f"{rate:.3g}/s"]
        if rate > 0 and done < self._total:
            parts.append(f"{time_text((self._total - done) / rate)} left")
        self._line.write(f"{self._title}: {', '.join([*parts, *([more] if more else [])])}", last=done >= self._total)


def time_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size_text(num_bytes: float) -> str:
    """`12.3 MB`: powers of 1000, as disks and the portal count."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.2f} TB"
