"""What a tracker is told of a comparison: a run of its own, in the experiment of its task."""

from collections.abc import Mapping

from midrc_ml.reporting.comparison import ComparisonReport
from midrc_ml.reporting.run_folder import source_state
from midrc_ml.tasks.task import Task
from midrc_ml.tracking.tracker import RunFacts

_TAG_LENGTH = 4000


def facts_of(report: ComparisonReport, task: Task, *, settings: Mapping[str, object]) -> RunFacts:
    """The facts of the run. settings: of the comparison; they become its parameters."""
    names = report.models
    others = names[1] if len(names) == 2 else f"{len(names) - 1}-models"
    runs = ", ".join(source["run_id"] or source["shown"] for source in report.sources)
    return RunFacts(
        experiment=f"midrc/{task.name}",
        name=f"compare-{others}-with-{names[0]}",
        params={
            "models": ", ".join(names),
            "metrics": ", ".join(report.metrics),
            **settings,
        },
        tags={
            "task": task.name,
            "task_version": str(task.version),
            "synthetic": str(report.synthetic).lower(),
            "compared_runs": runs[:_TAG_LENGTH],
            "studies_sha256": report.studies_sha256,
            "mlflow.note.content": report.note()[:_TAG_LENGTH],
            **{key: str(value).lower() for key, value in source_state().items() if value is not None},
        },
        inputs={report.part: report.comparison.num_studies},
        split_sha256=report.split_sha256 or report.studies_sha256,
        verb="compare",
    )
