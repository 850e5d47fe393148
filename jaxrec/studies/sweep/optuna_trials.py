"""Settings drawn by Optuna, whose study is kept in the sweep's folder, so that a later call continues it."""

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
    """Draws settings until `trials` of them are validated, those of earlier calls included (and validated again).

    Args:
      axes: fields and what is drawn for them.
      trials: how many settings in all.
      validate: the value of a setting, which is maximised; None where its training failed. It is called again for the
        settings of earlier calls, whose values it is expected to have stored.
      folder: gets trials.log, where Optuna keeps its studies.
      about: what else the values depend on; each text has a study of its own.
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
    for trial in study.get_trials(states=(state.RUNNING,)):  # an earlier call was stopped in the middle of it
        study.tell(trial.number, state=state.FAIL)
        study.enqueue_trial(trial.params)
    done = study.get_trials(states=(state.COMPLETE, state.PRUNED))
    for trial in done:
        validate({axis.field: _value(axis, trial.params[axis.field]) for axis in axes})
    for number in range(len(done), trials):
        # Seeded by its number, so that a study that was stopped draws what it would have drawn.
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
