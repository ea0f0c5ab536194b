"""What a tracker is told, and the tracker that keeps nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What describes a run. Aggregates only: no identifier, path or pixel of a patient.

    inputs: {part: number of studies}. split_sha256: of the manifest that the studies stand in. verb: that was run.
    """

    experiment: str
    name: str
    params: Mapping[str, object]
    tags: Mapping[str, str]
    inputs: Mapping[str, int]
    split_sha256: str
    verb: str = "train"


class RunTracker(Protocol):
    """Follows one run from start to end."""

    run_id: str | None

    def start(self, facts: RunFacts, *, log_dir: Path, run_key: str) -> None:
        """Begin a run, or continue the one that was begun with the same `run_key`."""

    def log_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs so far; those logged before are not logged twice."""

    def finish(
        self,
        metrics: Sequence[Mapping[str, Any]],
        artifacts: Sequence[Path],
        network: object | None = None,
        shapes: Sequence[Sequence[int]] = (),
        audit: Sequence[Mapping[str, Any]] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Log final metrics, files and the model, and close the run.

        network: None = nothing was trained. shapes: of its inputs of one study. audit: rows of `audit.json`.
        about: what the network was trained on.
        """

    def fail(self, reason: str) -> None:
        """Close the run as failed."""

    def how_to_look(self) -> str | None:
        """The command that opens the tracker's page, or None."""


class NoTracking:
    """`tracking=none`: the run folder is all there is."""

    run_id: str | None = None

    def start(self, facts: RunFacts, *, log_dir: Path, run_key: str) -> None:
        """Nothing."""

    def log_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Nothing."""

    def finish(
        self,
        metrics: Sequence[Mapping[str, Any]],
        artifacts: Sequence[Path],
        network: object | None = None,
        shapes: Sequence[Sequence[int]] = (),
        audit: Sequence[Mapping[str, Any]] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing."""

    def fail(self, reason: str) -> None:
        """Nothing."""

    def how_to_look(self) -> str | None:
        """Nothing to look at."""
        return None
