"""A Gen3 portal, asked through the gen3 package: signed addresses, the index, queries, node exports.

gen3 itself sets no time limit, prints what a portal refuses, and follows redirects with its login; `login` sees to
these, and queries, which gen3 prints when they fail, are made here. The package is an optional extra and imported
here alone.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import requests

from midrc_ml.downloads.credentials import ApiKey
from midrc_ml.downloads.failures import (
    Patience,
    TemporaryError,
    UnobtainableError,
    error_of_answer,
    error_of_connection,
)
from midrc_ml.downloads.login import Login, within
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.errors import InputError

_T = TypeVar("_T")
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
            from gen3.file import Gen3File
            from gen3.index import Gen3Index
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
        self._timeout_s, self._patience = timeout_s, patience
        self._login = Login(self.endpoint, key, timeout_s=timeout_s)
        self._file = Gen3File(auth_provider=self._login)
        self._index = Gen3Index(endpoint=self.endpoint, auth_provider=self._login)
        self._submission = Gen3Submission(auth_provider=self._login)

    def sign_in(self) -> None:
        """Get an access token, so that a key that is not taken is known before anything else.

        Raises:
            InputError: the portal does not take the key, or cannot be reached.
        """
        try:
            self._patiently(lambda: None)  # what comes before every call is all that is wanted
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
            raise TemporaryError("the portal gave no address for it")
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

    def find_files(self, filter_object: dict[str, Any]) -> list[Any]:
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
        if not isinstance(records, list):
            raise InputError(f"{self.endpoint} answered the query with something that is not a list of records")
        return records

    def _download_records(self, fields: list[str] | None, filter_object: dict[str, Any]) -> Any:
        return requests.post(
            f"{self.endpoint}/guppy/download",
            json={"type": "data_file", "fields": fields, "accessibility": "accessible", "filter": filter_object},
            auth=self._login,
            timeout=(self._timeout_s, self._timeout_s * _LONG),
            allow_redirects=False,
        ).json()

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
            self._login.ready()
            renewals = self._login.renewals
            try:
                return within(self._timeout_s * num_limits, call, *arguments)
            except requests.HTTPError as error:
                answer = error.response
                if answer is None:
                    raise error_of_connection(error, "the portal") from None
                if answer.status_code == requests.codes.unauthorized and self._login.renew(renewals):
                    continue
                raise error_of_answer(answer, "the portal") from None
            except requests.JSONDecodeError:
                raise TemporaryError("the portal answered with something that is not JSON") from None
            except requests.RequestException as error:
                raise error_of_connection(error, "the portal") from None
            except (TemporaryError, UnobtainableError):
                raise
            except Exception as error:  # gen3 raises no more precise one over an answer that it cannot use
                raise TemporaryError(f"the portal's answer cannot be used ({type(error).__name__})") from None


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
