"""`compute.profile=true`: what some steps of a run's first epoch spend their time on."""

from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile, schedule

FOLDER, TRACE, TABLE = "profile", "trace.json", "operators.txt"
_WAIT, _WARM_UP, _ACTIVE = 2, 1, 8  # steps: the first ones allocate and choose algorithms
_ROWS = 40


class Profile:
    """Watches the steps of an epoch; writes a trace for chrome://tracing or ui.perfetto.dev, and a table."""

    def __init__(self, folder: Path | None, device: torch.device, *, num_steps: int) -> None:
        """folder: of the run; None = watch nothing."""
        self._folder = folder
        self._profile: profile | None = None
        if folder is None:
            return
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
        steps = None  # all of a short epoch
        if num_steps > _WAIT + _WARM_UP:
            steps = schedule(wait=_WAIT, warmup=_WARM_UP, active=_ACTIVE, repeat=1)
        self._profile = profile(
            activities=activities, schedule=steps, on_trace_ready=self._write, profile_memory=True, acc_events=True
        )

    def __enter__(self) -> "Profile":
        if self._profile is not None:
            self._profile.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profile is not None:
            self._profile.__exit__(kind, error, trace)

    def step(self) -> None:
        """A step has ended."""
        if self._profile is not None:
            self._profile.step()

    def _write(self, done: profile) -> None:
        assert self._folder is not None
        place = self._folder / FOLDER
        done.export_chrome_trace(str(place / TRACE))
        averages = done.key_averages()
        by = "self_cuda_time_total" if ProfilerActivity.CUDA in done.activities else "self_cpu_time_total"
        (place / TABLE).write_text(averages.table(sort_by=by, row_limit=_ROWS) + "\n", encoding="utf-8")
