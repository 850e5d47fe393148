"""Settings drawn by Optuna: a study in the sweep's folder, which a later call goes on with."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxrec.studies.sweep.space import Choices, Range


def search(
    axes: Sequence[Choices | Range],
    trials: int,
    measure: Callable[[Mapping[str, Any]], float | None],
    folder: pathlib.Path,
    *,
    about: str = "",
) -> None:
    """Draws settings until `trials` of them are measured, those of earlier calls counted (and measured again).

    Args:
      axes: what is drawn.
      trials: how many settings in all.
      measure: what is maximised; None where the setting failed. Called again for the settings of earlier calls, whose
        results it is expected to have at hand.
      folder: gets trials.log, where Optuna keeps its studies.
      about: what else results depend on; another study is made for another text.
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
        measure({axis.field: _value(axis, trial.params[axis.field]) for axis in axes})
    for number in range(len(done), trials):
        # Seeded by its number, so that a study that was stopped draws what it would have drawn.
        study.sampler = optuna.samplers.TPESampler(seed=number)
        trial = study.ask()
        value = measure({axis.field: _drawn(axis, trial) for axis in axes})
        study.tell(trial, value, state=state.COMPLETE if value is not None else state.PRUNED)


def _drawn(axis: Choices | Range, trial: Any) -> Any:
    if isinstance(axis, Choices):
        return _value(axis, trial.suggest_categorical(axis.field, list(axis.values)))
    draw = trial.suggest_int if axis.whole else trial.suggest_float
    return _value(axis, draw(axis.field, axis.low, axis.high, log=axis.log))


def _value(axis: Choices | Range, drawn: Any) -> Any:
    """What Optuna keeps, texts and numbers, as a value of the field."""
    return axis.values[drawn] if isinstance(axis, Choices) else axis.typed(drawn)
