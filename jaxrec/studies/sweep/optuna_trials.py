"""Draws settings with Optuna; its study is kept in the sweep's folder, so that a later call continues it."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxrec.studies.sweep.axes import Choices, Range


def draw_settings(
    axes: Sequence[Choices | Range],
    trials: int,
    validate: Callable[[Mapping[str, Any]], float | None],
    folder: pathlib.Path,
    *,
    about: str = "",
) -> None:
    """Draws settings until `trials` are validated, including those of earlier calls, which are validated again.

    Args:
      axes: fields and their values or ranges.
      trials: total number of settings.
      validate: returns the value of a setting, to be maximised, or None if its training failed. It is called again for
        the settings of earlier calls, whose values it should have stored.
      folder: gets trials.log, Optuna's storage.
      about: anything else the values depend on; each text has its own study.
    Raises:
      ValueError: Optuna is not installed, or `trials` is below 1.
    """
    if trials < 1:
        raise ValueError(f"trials={trials} must be at least 1")
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise ValueError(
            "--trials draws settings with Optuna, which is not installed: pip install -e '.[sweep]', or give values "
            "and leave --trials out"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    state = optuna.trial.TrialState
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "trials.log"))),
        study_name=hashlib.sha256(f"{axes} {about}".encode()).hexdigest()[:16],
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(state.RUNNING,)):  # interrupted in an earlier call
        study.tell(trial.number, state=state.FAIL)
        study.enqueue_trial(trial.params)
    finished = study.get_trials(states=(state.COMPLETE, state.PRUNED))
    for trial in finished:
        validate({axis.field: _value(axis, trial.params[axis.field]) for axis in axes})
    for number in range(len(finished), trials):
        # Seeded by the trial's number, so that a resumed study draws the same settings.
        study.sampler = optuna.samplers.TPESampler(seed=number)
        trial = study.ask()
        value = validate({axis.field: _drawn(axis, trial) for axis in axes})
        study.tell(trial, value, state=state.COMPLETE if value is not None else state.PRUNED)


def _drawn(axis: Choices | Range, trial: Any) -> Any:
    if isinstance(axis, Choices):
        return _value(axis, trial.suggest_categorical(axis.field, list(axis.values)))
    draw = trial.suggest_int if axis.whole else trial.suggest_float
    return _value(axis, draw(axis.field, axis.low, axis.high, log=axis.log))


def _value(axis: Choices | Range, drawn: Any) -> Any:
    """The value of the field for what Optuna stores, a text or a number."""
    return axis.values[drawn] if isinstance(axis, Choices) else axis.value(drawn)
