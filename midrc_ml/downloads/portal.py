"""A Gen3 portal, asked through the gen3 package: signed addresses, the index, queries, node exports.

gen3 itself sets no time limit, prints what a portal refuses, and keeps a refused token until it has run out;
`_Login` and `_within` see to these. The package is an optional extra and imported here alone.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase

from midrc_ml.downloads.credentials import NEW_KEY, ApiKey
from midrc_ml.downloads.failures import (
    NO_PERMISSION,
    Patience,
    TemporaryError,
    UnobtainableError,
    error_of_answer,
    error_of_connection,
)
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.errors import InputError

_T = TypeVar("_T")
_RENEW_AT_MOST_EVERY_S = 60.0
_ANSWERS_TO_A_BAD_KEY = (400, *NO_PERMISSION)
# Exports and queries are put together while one waits.
_LONG = 30
_INDEX_BATCH = 1000
_PROJECT = re.compile(r"/programs/([^/]+)/projects/([^/]+)")
_FILE_FIELDS = ["object_id", "file_name", "file_size", "md5sum", "project_id"]


class Portal:
    """The calls of one portal that a download needs.

    Raises:
        InputError: the gen3 package is not installed, or the key is not for this portal.
    """

    def __init__(self, endpoint: str, key: ApiKey, *, timeout_s: float, patience: Patience) -> None:
        os.environ.setdefault("GEN3SDK_MAX_RETRIES", "1")  # we wait ourselves, as long as the server asks for
        try:
            from gen3.auth import Gen3Auth, Gen3AuthError
            from gen3.file import Gen3File
            from gen3.index import Gen3Index
            from gen3.query import Gen3Query
            from gen3.submission import Gen3Submission
        except ImportError as error:
            raise InputError(
                f"the gen3 package, through which MIDRC is asked, cannot be imported ({error.name}); "
                f"pip install 'midrc_ml[gen3]'"
            ) from error
        # It logs what a portal answers, to the standard output.
        logging.getLogger("gen3").setLevel(logging.CRITICAL + 1)
        self.endpoint = endpoint.rstrip("/")
        key.check_is_for(self.endpoint)
        self._key = key
        self._timeout_s, self._patience = timeout_s, patience
        self._login = _Login(Gen3Auth(endpoint=self.endpoint, refresh_token=key.content))
        self._no_token = Gen3AuthError
        self._file = Gen3File(auth_provider=self._login)
        self._index = Gen3Index(endpoint=self.endpoint, auth_provider=self._login)
        self._query = Gen3Query(self._login)
        self._submission = Gen3Submission(auth_provider=self._login)

    def sign_in(self) -> None:
        """Get an access token, so that a key that is not taken is known before anything else.

        Raises:
            InputError: the portal does not take the key, or cannot be reached.
        """
        try:
            self._patiently(self._login.token)
        except UnobtainableError as error:
            raise InputError(f"cannot sign in to {self.endpoint}: {error}") from None

    def url_of(self, object_id: str) -> str:
        """A signed address of an object, good for some minutes.

        Raises:
            UnobtainableError, TemporaryError: see `failures`.
            InputError: the portal takes the key no longer.
        """
        answer = self._asked(self._file.get_presigned_url, object_id)
        if not isinstance(answer, dict) or not isinstance(answer.get("url"), str):
            raise UnobtainableError("the portal gave no address for it")
        return str(answer["url"])

    def described(self, objects: Sequence[RemoteObject]) -> tuple[list[RemoteObject], list[tuple[RemoteObject, str]]]:
        """The objects with what the index knows of them, and those that it does not know, with the reason.

        What a manifest says is kept.

        Raises:
            InputError: the index cannot be asked.
        """
        found, unknown = [], []
        for start in range(0, len(objects), _INDEX_BATCH):
            batch = objects[start : start + _INDEX_BATCH]
            ids = [each.object_id for each in batch]
            try:
                answer = self._patiently(self._index.get_records, ids)
            except UnobtainableError as error:
                raise InputError(f"the index of {self.endpoint} cannot be asked: {error}") from None
            records = {record.get("did"): record for record in answer or [] if isinstance(record, dict)}
            for each in batch:
                record = records.get(each.object_id)
                if record is None and not each.is_described:
                    unknown.append((each, "not there: the portal's index does not know it"))
                else:
                    found.append(_filled(each, record or {}))
        return found, unknown

    def find_files(self, filter_object: dict[str, Any]) -> list[dict[str, Any]]:
        """The records of the `data_file` index that the filter lets through, in guppy's words.

        Raises:
            InputError: the query is refused, or the answer is not a list of records.
        """

        def records_with(fields: list[str] | None) -> Any:
            return self._patiently(self._download_records, fields, filter_object, num_limits=_LONG)

        try:
            try:
                records = records_with(_FILE_FIELDS)
            except UnobtainableError:  # a portal without one of the fields; None asks for whatever it has
                records = records_with(None)
        except UnobtainableError as error:
            raise InputError(
                f"{self.endpoint} refuses the query: {error}; the fields and values that it knows are those of the "
                f"explorer's Data Files tab"
            ) from None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise InputError(f"{self.endpoint} answered the query with something that is not a list of records")
        return records

    def _download_records(self, fields: list[str] | None, filter_object: dict[str, Any]) -> Any:
        with redirect_stdout(StringIO()):  # it prints an answer that is not JSON
            return self._query.raw_data_download(data_type="data_file", fields=fields, filter_object=filter_object)

    def export_node(self, project: str, node: str) -> str:
        """The rows of a node of a project (`Open-A1`), as TSV.

        Raises:
            UnobtainableError: the portal refuses it.
            InputError: the portal takes the key no longer.
        """
        program, _, code = project.partition("-")
        export = self._submission.export_node
        return str(self._patiently(export, program, code, node, "tsv", num_limits=_LONG))

    def _patiently(self, call: Callable[..., _T], *arguments: Any, num_limits: int = 1) -> _T:
        num_failed = 0
        while True:
            try:
                return self._asked(call, *arguments, num_limits=num_limits)
            except TemporaryError as error:
                num_failed += 1
                self._patience.wait(num_failed, error, time.sleep)

    def _asked(self, call: Callable[..., _T], *arguments: Any, num_limits: int = 1) -> _T:
        """What the call gives, or one of our errors; once more with a new token after a 401.

        The portal answers 401 both to a token that it takes no longer and to a person who may not have an
        object: which of the two it was shows when a new token is refused as well.
        """
        while True:
            renewals = self._login.renewals
            try:
                return _within(self._timeout_s * num_limits, call, *arguments)
            except requests.HTTPError as error:
                answer = error.response
                if answer is None:
                    raise error_of_connection(error, "the portal") from None
                if answer.status_code == requests.codes.unauthorized and self._renewed(renewals):
                    continue
                raise error_of_answer(answer, "the portal") from None
            except requests.JSONDecodeError:
                raise TemporaryError("the portal answered with something that is not JSON") from None
            except requests.RequestException as error:
                raise error_of_connection(error, "the portal") from None
            except self._no_token:
                raise self._why_no_token() from None
            except TemporaryError:
                raise
            except Exception as error:  # gen3 raises no more precise one over an answer that it cannot use
                raise TemporaryError(f"the portal's answer cannot be used ({type(error).__name__})") from None

    def _renewed(self, renewals: int) -> bool:
        try:
            return _within(self._timeout_s, self._login.renew, renewals)
        except requests.RequestException as error:
            raise error_of_connection(error, "the portal") from None
        except self._no_token:
            raise self._why_no_token() from None

    def _why_no_token(self) -> Exception:
        """Why the key gave no token: gen3 does not tell a key that is refused from a portal that is down."""
        try:
            answer = requests.post(
                f"{self.endpoint}/user/credentials/cdis/access_token", json=self._key.content, timeout=self._timeout_s
            )
        except requests.RequestException as error:
            return error_of_connection(error, "the portal")
        if answer.status_code in _ANSWERS_TO_A_BAD_KEY:
            return InputError(
                f"{self.endpoint} does not take the API key from {self._key.source} (any longer): create a new one: "
                f"{NEW_KEY}; then give the same line again"
            )
        return TemporaryError("the portal gave no access token") if answer.ok else error_of_answer(answer, "the portal")


class _Login(AuthBase):
    """Signs requests with gen3's tokens, one thread at a time, and makes an error of every refused request.

    An error raised here comes before gen3's own, which would print the answer. Answers are read as UTF-8:
    exports name no encoding, and it would be guessed.
    """

    def __init__(self, gen3_auth: Any) -> None:
        self.endpoint = gen3_auth.endpoint
        self._gen3_auth = gen3_auth
        self._lock = threading.Lock()
        self._renewed_at = float("-inf")
        self.renewals = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            signed: requests.PreparedRequest = self._gen3_auth(request)
        signed.register_hook("response", _checked)
        return signed

    def token(self) -> None:
        """Have a token that is good for some minutes."""
        with self._lock:
            self._gen3_auth.get_access_token()

    def renew(self, renewals: int) -> bool:
        """Whether there is a newer token than after that many renewals; gets one, but not every second."""
        with self._lock:
            if self.renewals > renewals:
                return True
            if time.monotonic() - self._renewed_at < _RENEW_AT_MOST_EVERY_S:
                return False
            self._gen3_auth.refresh_access_token()
            self._renewed_at = time.monotonic()
            self.renewals += 1
            return True


def _checked(response: requests.Response, **settings: Any) -> requests.Response:
    if not response.ok:
        response.close()
        raise requests.HTTPError(f"HTTP {response.status_code}", response=response)
    response.encoding = "utf-8"
    return response


def _within(seconds: float, call: Callable[..., _T], *arguments: Any) -> _T:
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


def _filled(remote: RemoteObject, record: dict[str, Any]) -> RemoteObject:
    """The object with what the index has of it where it was not known: name, size, md5, project."""
    size, md5 = record.get("size"), (record.get("hashes") or {}).get("md5")
    urls = [url for url in record.get("urls") or [] if isinstance(url, str)]
    name = record.get("file_name") or (urls[0].rsplit("/", 1)[-1] if urls else None)
    projects = [_PROJECT.match(path) for path in record.get("authz") or [] if isinstance(path, str)]
    project = next(("-".join(match.groups()) for match in projects if match), None)
    return RemoteObject(
        object_id=remote.object_id,
        host=remote.host,
        name=remote.name or (name if isinstance(name, str) else None),
        size=remote.size if remote.size is not None or type(size) is not int else size,
        md5=remote.md5 or (md5.lower() if isinstance(md5, str) else None),
        project=remote.project or project,
    )
