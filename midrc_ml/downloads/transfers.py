"""Fetching many objects at once: resumed, verified, and none stopping the others."""

import errno
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import requests

from midrc_ml.downloads.failures import (
    Patience,
    TemporaryError,
    UnobtainableError,
    error_of_answer,
    error_of_connection,
)
from midrc_ml.downloads.finished import FinishedFiles, md5_of
from midrc_ml.downloads.login import no_login
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.downloads.progress import Progress
from midrc_ml.errors import InputError
from midrc_ml.progress import size_text

PART = ".part"
_WRONG_CONTENTS = 3  # times that an object may come with another size or checksum before it is given up
_CHUNK_BYTES = 1 << 15  # what is lost, at most, of what came before a connection broke off
_LOOK_EVERY_S = 0.2
_GRACE_S = 2.0  # for threads to close their files when the download is stopped
# A signed address that has run out is refused with 403, by some buckets with 400 or 401.
_RUN_OUT = (400, 401, 403)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """jobs: threads. timeout_s: without a byte, after which a connection counts as broken."""

    jobs: int = 4
    timeout_s: float = 60.0
    patience: Patience = field(default_factory=Patience)


@dataclass(kw_only=True)
class Outcome:
    """What became of the objects: counts, and each one that failed with its reason.

    already: files that were there and are right. unchecked: fetched files of which no checksum is known.
    """

    fetched: int = 0
    already: int = 0
    unchecked: int = 0
    failed: list[tuple[RemoteObject, str]] = field(default_factory=list)


class _StoppedError(Exception):
    """The download was stopped from outside of this thread."""


class _RunOutError(TemporaryError):
    """The signed address is no longer taken."""


class _WrongContentError(Exception):
    """What came is not the object that was promised."""


def split_finished(objects: Iterable[RemoteObject], folder: Path) -> tuple[list[RemoteObject], list[RemoteObject]]:
    """The objects that are still to be fetched, and those whose verified file is in the folder."""
    finished = FinishedFiles(folder)
    todo: list[RemoteObject] = []
    done: list[RemoteObject] = []
    for each in objects:
        (done if finished.has(each) else todo).append(each)
    return todo, done


def missing_bytes(remote: RemoteObject, folder: Path) -> int:
    """The bytes of an object that are in neither its file nor its unfinished one; 0 where its size is not known."""
    if remote.md5 and _size_of(folder / str(remote.name)) == remote.size:
        return 0  # fetched by other means, as it seems
    there = _size_of(folder / f"{remote.name}{PART}") if remote.md5 else 0
    return max(0, (remote.size or 0) - there)


class Transfer:
    """Fetches objects into a folder.

    url_of: the signed address of an object by its id; it may raise the errors of `failures`, and an InputError
    that ends the whole download. An object is written to `<name>.part`, verified, and then renamed.
    `outcome` is what became of the objects, also when the download ends early.
    """

    def __init__(self, folder: Path, url_of: Callable[[str], str], settings: TransferSettings) -> None:
        self._folder = folder
        self._url_of = url_of
        self._settings = settings
        self._finished = FinishedFiles(folder)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._fatal: BaseException | None = None
        self.outcome = Outcome()

    def fetch(self, objects: Iterable[RemoteObject], progress: Progress | None = None) -> Outcome:
        """Fetch what is not there yet.

        objects: with safe names (`with_safe_names`).

        Raises:
            InputError: nothing more can come: the disk is full, or the portal takes the key no longer.
        """
        todo, done = split_finished(objects, self._folder)
        outcome = self.outcome = Outcome(already=len(done))
        self._check_room(todo)
        sizes = [each.size for each in todo]
        self._progress = progress or Progress(
            num_files=len(todo), num_bytes=None if None in sizes else sum(size or 0 for size in sizes)
        )
        queue = deque(todo)
        # Daemons, so that a thread in a read that hangs does not keep a stopped program alive.
        threads = [
            threading.Thread(target=self._work, args=(queue, outcome), daemon=True)
            for _ in range(min(self._settings.jobs, len(todo)))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                self._progress.show()
                threads[0].join(_LOOK_EVERY_S)
                threads = [thread for thread in threads if thread.is_alive()] or threads
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join(_GRACE_S / len(threads))
            raise
        if todo:
            self._progress.show(last=True)
        if self._fatal is not None:
            raise self._fatal
        return outcome

    def _check_room(self, todo: list[RemoteObject]) -> None:
        needed = sum(missing_bytes(each, self._folder) for each in todo)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise InputError(
                f"{self._folder} has {size_text(free)} free, but {size_text(needed)} are still to come; "
                f"make room, or give another --to FOLDER"
            )

    def _work(self, queue: deque[RemoteObject], outcome: Outcome) -> None:
        with requests.Session() as session:
            session.auth = no_login
            while not self._stop.is_set():
                try:
                    remote = queue.popleft()
                except IndexError:
                    return
                self._one(session, remote, outcome)

    def _one(self, session: requests.Session, remote: RemoteObject, outcome: Outcome) -> None:
        try:
            was_there = self._get(session, remote)
        except _StoppedError:
            return
        except InputError as error:
            self._end(error)
            return
        except UnobtainableError as error:
            reason = str(error)
        except OSError as error:
            if error.errno in _DISK_FULL:
                self._end(
                    InputError(
                        f"the disk of {self._folder} is full; make room and give the same line again: it goes on there"
                    )
                )
                return
            reason = f"cannot be written: {error.strerror}"
        except Exception as error:
            # Without its text, which may hold the signed address.
            reason = f"failed with {type(error).__name__}"
        else:
            with self._lock:
                outcome.already += was_there
                outcome.fetched += not was_there
                outcome.unchecked += not was_there and remote.md5 is None
            self._progress.add_file()
            return
        with self._lock:
            outcome.failed.append((remote, reason))
        self._progress.give_up(missing_bytes(remote, self._folder))

    def _end(self, error: InputError) -> None:
        with self._lock:
            self._fatal = self._fatal or error
        self._stop.set()

    def _get(self, session: requests.Session, remote: RemoteObject) -> bool:
        """Have the object's file in the folder, verified; True if it was there, fetched by other means."""
        target = self._folder / str(remote.name)
        if remote.md5 and _size_of(target) == remote.size and target.is_file() and md5_of(target) == remote.md5:
            self._progress.add_bytes(_size_of(target))
            self._finished.add(remote, remote.md5)
            return True
        part = target.with_name(target.name + PART)
        part.parent.mkdir(parents=True, exist_ok=True)
        if remote.md5 is None:  # whose beginning this is could not be told at the end
            part.unlink(missing_ok=True)
        self._progress.add_bytes(_size_of(part))
        url: str | None = None
        num_failed = num_wrong = 0
        furthest = _size_of(part)
        while True:
            try:
                url = url or self._url_of(remote.object_id)
                self._receive(session, url, remote, part)
                md5 = self._verified(remote, part)
                break
            except _WrongContentError as error:
                self._throw_away(part)
                num_wrong += 1
                if num_wrong == _WRONG_CONTENTS:
                    raise UnobtainableError(f"{error} ({num_wrong} times)") from None
            except TemporaryError as error:
                if isinstance(error, _RunOutError):
                    url = None
                # A large object over a bad line may break off often: only tries that came no further count.
                reached = _size_of(part)
                num_failed = 1 if reached > furthest else num_failed + 1
                furthest = max(furthest, reached)
                self._settings.patience.wait(num_failed, error, self._sleep)
        os.replace(part, target)
        self._finished.add(remote, md5)
        return False

    def _receive(self, session: requests.Session, url: str, remote: RemoteObject, part: Path) -> None:
        """Add to the unfinished file what is missing in it."""
        start = _size_of(part)
        if remote.size is not None and start > remote.size:
            self._throw_away(part)
            start = 0
        if start and start == remote.size:
            return
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = self._settings.timeout_s
        try:
            with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
                if response.status_code in _RUN_OUT:
                    raise _RunOutError(f"the bucket answered HTTP {response.status_code} to a signed address")
                if response.status_code == requests.codes.requested_range_not_satisfiable:
                    raise _WrongContentError(f"the bucket has no more than {start} bytes of it")
                if not response.ok:
                    raise error_of_answer(response, "the bucket")
                if start and not _continues(response, start):
                    self._throw_away(part)
                    start = 0
                promised = _promised(response, start)
                if None not in (promised, remote.size) and promised != remote.size:
                    raise _WrongContentError(f"the bucket has {promised} bytes, but it has {remote.size}")
                with part.open("ab") as file:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        if self._stop.is_set():
                            raise _StoppedError
                        file.write(chunk)
                        self._progress.add_bytes(len(chunk))
                        if remote.size is not None and file.tell() > remote.size:
                            raise _WrongContentError(f"more came than its {remote.size} bytes")
        except requests.RequestException as error:
            raise error_of_connection(error, "the bucket") from None
        if promised is not None and _size_of(part) < promised:
            raise TemporaryError("the connection to the bucket broke off")

    def _verified(self, remote: RemoteObject, part: Path) -> str:
        size, md5 = _size_of(part), md5_of(part)
        if remote.size not in (None, size):
            raise _WrongContentError(f"{size} bytes came, but it has {remote.size}")
        if remote.md5 not in (None, md5):
            raise _WrongContentError("what came has another checksum (md5)")
        return md5

    def _throw_away(self, part: Path) -> None:
        self._progress.add_bytes(-_size_of(part))
        part.unlink(missing_ok=True)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StoppedError


def _continues(response: requests.Response, start: int) -> bool:
    """Whether the answer is the rest of the object from the byte `start` on, and not all of it again."""
    partial = response.status_code == requests.codes.partial_content
    return partial and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _promised(response: requests.Response, start: int) -> int | None:
    """The size of the whole object, from the answer that begins at the byte `start`."""
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isascii() and length.isdecimal() else None


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
