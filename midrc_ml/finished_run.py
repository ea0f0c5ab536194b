"""A finished run, read back: what it can be applied with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from midrc_ml.audits.settings import Scope
from midrc_ml.config import CONFIG_FILE, flat, instantiated
from midrc_ml.datasets.clinical_table import ClinicalTable
from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import FILE_NAME as DECISION_FILE
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.images.build import ImageRecipe
from midrc_ml.reporting.run_folder import RunFolder
from midrc_ml.tasks.task import Task
from midrc_ml.training.apply import check_checkpoints
from midrc_ml.training.settings import Precision

OF_RUN = ("task", "images", "clinical", "model", "evaluation", "fairness")
"""The objects of a run's config that are applied with it."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run that came to its end: what its config makes, and what it left.

    batch_size, precision: of its settings. is_ours: the network is made of this package's own parts alone, which need
    little of MONAI. split: `split.parquet`. decision: None where an older run has none. audit_scope: how far it
    was audited.
    """

    folder: Path
    task: Task
    images: ImageRecipe | None
    clinical: ClinicalTable | None
    model: Any
    evaluation: Evaluation
    fairness: Fairness
    batch_size: int
    precision: Precision
    is_ours: bool
    split: pd.DataFrame
    decision: Decision | None
    audit_scope: Scope = "all"

    @property
    def checkpoints(self) -> Path:
        """Their folder."""
        return self.folder / "checkpoints"

    @classmethod
    def read(cls, folder: Path, config: DictConfig) -> "FinishedRun":
        """The run in `folder`. config: its own.

        Raises:
            InputError: it is not finished, something of it is gone, or its config is of another version.
        """
        status = RunFolder(folder)
        if not status.is_finished:
            raise InputError(
                f"run={folder} is not finished (status: {status.status.get('state', 'unknown')}); wait for it, or "
                f"python -m midrc_ml.train resume={folder} goes on with it"
            )
        absent = [name for name in (*OF_RUN, "training", "compute") if name not in config]
        if absent:
            raise InputError(f"run={folder}: its {CONFIG_FILE} has no {', '.join(absent)}; train again")
        made = instantiated(OmegaConf.masked_copy(config, list(OF_RUN)))
        check_checkpoints(folder / "checkpoints", has_table=made["clinical"] is not None)
        parts = OmegaConf.to_container(config.model)
        assert isinstance(parts, dict)
        targets = [value for key, value in flat({str(key): part for key, part in parts.items()}).items()
                   if key.endswith("_target_")]  # fmt: skip
        return cls(
            folder=folder,
            **made,
            batch_size=int(config.training.batch_size),
            precision=config.compute.precision,
            is_ours=all(str(target).startswith("midrc_ml.models.") for target in targets),
            split=_split_of(folder),
            decision=Decision.load(folder) if (folder / DECISION_FILE).is_file() else None,
            audit_scope=OmegaConf.select(config, "audit.scope", default="all"),
        )


def _split_of(folder: Path) -> pd.DataFrame:
    path = folder / "split.parquet"
    try:
        return pd.read_parquet(path, columns=["patient_id", "case_id", "study_id", "part"])
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}), and without it nobody can tell which patients the run "
            f"was trained on; copy it back, or train again"
        ) from error
