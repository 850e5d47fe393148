"""Checkpoints of a training run with orbax: state, data iterator position, and early stopping."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxrec.files import check_sums, write_sums
from jaxrec.training.background_sums import BackgroundSums
from jaxrec.training.state import TrainState, Tree
from jaxrec.types import DataError

STORAGE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of storage, which are no fault of the run."""
AGAIN = "the train command, given again, goes on from the newest one that is whole, if there is one"


@dataclasses.dataclass(frozen=True)
class Restored:
    """The content of a checkpoint.

    Attributes:
      step: number of finished steps.
      state, buffers: with the requested shardings.
      position: the grain iterator's state.
      meta: scalars by name.
      warning: newer checkpoints that could not be read, or "".
    """

    step: int
    state: TrainState
    buffers: Tree
    position: dict[str, Any]
    meta: dict[str, Any]
    warning: str = ""


class _Keep(preservation_policy.PreservationPolicy):
    """Keeps the newest two checkpoints and the best one as of each, so that the run survives a broken newest one.

    Orbax's own BestN breaks ties towards the later step, early stopping towards the earlier one.
    """

    def __init__(self) -> None:
        self.best: list[int | None] = []

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps_to_keep = {info.step for info in checkpoints[-2:]} | set(self.best[-2:])
        return [info.step in steps_to_keep for info in checkpoints]


class Checkpoints:
    """The checkpoints in `folder`, written in the background.

    Each is a folder named by its step with the parts `model` (the parameters that are kept), `training` (step,
    opt_state, key and, where there are any, the memory, and the params beside their average), `data` (the iterator's
    position) and `meta`. Buffers never change: they are written once, to `buffers` beside `folder`. Every folder gets a
    manifest of check sums as soon as it is complete, against which it is read; one without a manifest, of an older
    version, is not checked.
    """

    def __init__(self, folder: pathlib.Path, *, read_only: bool = False) -> None:
        self._folder = folder.absolute()
        self._buffers = self._folder.parent / "buffers"
        self._wrote_buffers = False
        self._sums = BackgroundSums()
        self._keep = _Keep()
        # A reader may open a run in training, so it must not delete temporary files.
        options = (
            ocp.CheckpointManagerOptions(create=False, preservation_policy=self._keep)
            if read_only
            else ocp.CheckpointManagerOptions(preservation_policy=self._keep, cleanup_tmp_directories=True)
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def newest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, buffers: Tree, position: dict[str, Any], meta: dict[str, Any]) -> None:
        """Starts writing; returns as soon as the state may be donated.

        Args:
          step: number of finished steps.
          state: arrays; the caller has checked that they are finite.
          buffers: the same at every call; written before a folder's first checkpoint.
          position: the grain iterator's state after the batch of that step; the same in every process.
          meta: JSON; `best_step` names a checkpoint to keep.
        Raises:
          RuntimeError: a checkpoint of this or a later step exists.
          OSError: this one or the one before could not be written.
        """
        with self._storing():
            self._save(step, state, buffers, position, meta)

    def _save(
        self, step: int, state: TrainState, buffers: Tree, position: dict[str, Any], meta: dict[str, Any]
    ) -> None:
        if jax.tree.leaves(buffers) and not self._wrote_buffers and self.newest is None:
            with ocp.StandardCheckpointer() as checkpointer:  # whole before the first checkpoint that needs them
                checkpointer.save(self._buffers, buffers, force=True)
            if jax.process_index() == 0:
                write_sums(self._buffers)
            self._wrote_buffers = True
        self._keep.best.append(meta["best_step"])
        parts = ocp.args.Composite(
            model=ocp.args.StandardSave({"params": state.kept}),
            training=ocp.args.StandardSave(_besides_kept(state)),
            data=ocp.args.JsonSave(position),
            meta=ocp.args.JsonSave(meta),
        )
        self._manager.wait_until_finished()
        self._sums.finish()
        if not self._manager.save(step, args=parts):
            raise RuntimeError(
                f"{self._folder}: step {step} was not saved, newest is {self.newest}; use a fresh folder"
            )
        if jax.process_index() == 0:
            self._sums.start(self._folder / str(step))

    def restore(self, like: TrainState, buffers: Tree) -> Restored | None:
        """The newest readable checkpoint with the shardings of `like` and `buffers`; None without checkpoints.

        Newer ones that are damaged, or whose best checkpoint is, are moved to `folder/../broken`, so that their steps
        can be saved again.

        Raises:
          DataError: there are checkpoints but none can be read, for instance because they are of another model.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        buffers = self.buffers(buffers) if steps else buffers
        broken: list[tuple[int, Exception]] = []
        for step in steps:
            try:
                restored = self._read(step, like, buffers)
            except Exception as error:  # whatever a damaged file raises in orbax, tensorstore or json
                broken.append((step, error))
                continue
            if broken:
                self._set_aside([step for step, _ in broken])
            self._keep.best = [restored.meta["best_step"]]
            lost = "; ".join(f"{step} ({str(error)[:300]})" for step, error in broken)
            warning = f"checkpoint {lost} can't be read and was moved to broken/; " if broken else ""
            return dataclasses.replace(restored, warning=warning)
        if broken:
            raise DataError(
                f"no checkpoint in {self._folder} can be read: delete that folder, and the same command trains from "
                "the start; if the model or the optimizer has changed since, give another run folder: "
                f"{str(broken[0][1])[:500]}"
            ) from broken[0][1]
        return None

    def _read(self, step: int, like: TrainState, buffers: Tree) -> Restored:
        check_sums(self._folder / str(step))
        model, training = {"params": like.kept}, _besides_kept(like)
        parts = ocp.args.Composite(
            model=ocp.args.StandardRestore(_shapes(model)),
            training=ocp.args.StandardRestore(_shapes(training)),
            data=ocp.args.JsonRestore(),
            meta=ocp.args.JsonRestore(),
        )
        read = self._manager.restore(step, args=parts)
        best = read["meta"]["best_step"]
        if best not in (None, step):  # without it, the result of the training is lost
            if not (self._folder / str(best)).is_dir():
                raise DataError(f"{self._folder / str(best)}, the best checkpoint of step {step}, is missing")
            check_sums(self._folder / str(best))
        kept, training = read["model"]["params"], read["training"]
        averaged = {} if like.average is None else {"average": kept}
        state = TrainState(**({"params": kept} | training | averaged))
        return Restored(step, state, buffers, read["data"], read["meta"])

    def _set_aside(self, steps: list[int]) -> None:
        aside = self._folder.parent / "broken"
        if jax.process_index() == 0:
            for step in steps:
                shutil.rmtree(aside / str(step), ignore_errors=True)
                aside.mkdir(exist_ok=True)
                (self._folder / str(step)).rename(aside / str(step))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("broken checkpoints set aside")
        self._manager.reload()

    def params(self, step: int, like: Tree) -> Tree:
        """Parameters of one step with the shardings of `like` (arrays, or shapes with a sharding).

        Raises:
          DataError: they are missing, damaged or of another model.
        """
        parts = ocp.args.Composite(model=ocp.args.StandardRestore(_shapes({"params": like})))
        return self._part(step, "model", lambda: self._manager.restore(step, args=parts)["model"]["params"])

    def buffers(self, like: Tree) -> Tree:
        """The buffers, with the shardings of `like`.

        Raises:
          DataError: they can't be read.
        """
        if not jax.tree.leaves(like):
            return like
        try:
            check_sums(self._buffers)
            with ocp.StandardCheckpointer() as checkpointer:
                return checkpointer.restore(self._buffers, _shapes(like))
        except Exception as error:  # whatever a missing or damaged file raises in orbax, tensorstore or json
            raise DataError(
                f"{self._buffers}, where the run's anchors, graphs and frozen weights lie, is missing, damaged or of "
                "another model: put it back, or, if the model or the optimizer has changed since, give another run "
                f"folder ({type(error).__name__}: {str(error)[:200]})"
            ) from error

    def meta(self, step: int) -> dict[str, Any]:
        """The meta data of one step.

        Raises:
          DataError: they are missing or damaged.
        """
        file = self._folder / str(step) / "meta" / "metadata"
        return self._part(step, "meta", lambda: dict(json.loads(file.read_bytes())))

    def _part(self, step: int, part: str, read: Callable[[], Any]) -> Any:
        """What `read` reads of a checkpoint's part, after a look at its check sums."""
        folder = self._folder / str(step)
        try:
            check_sums(folder, (f"{part}/", "_"))
            return read()
        except DataError as error:
            raise DataError(f"{error}; {AGAIN}") from error
        except Exception as error:  # whatever a missing or damaged file raises in orbax, tensorstore or json
            raise DataError(
                f"{folder / part} is missing, damaged or of another model ({type(error).__name__}: "
                f"{str(error)[:200]}); {AGAIN}"
            ) from error

    def close(self) -> None:
        """Waits until all is written."""
        with self._storing():
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()
                self._sums.finish()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        """Orbax and tensorstore report a full disk as errors of many kinds; they become one OSError."""
        try:
            yield
        except Exception as error:
            reason = next((number for number in STORAGE if os.strerror(number) in str(error)), None)
            if reason is None:
                raise
            raise OSError(
                reason,
                f"a checkpoint could not be written ({os.strerror(reason)}); what was saved before is whole: make "
                "room, and the same command goes on from there",
                str(self._folder),
            ) from error


def _besides_kept(state: TrainState) -> dict[str, Any]:
    """What a checkpoint holds of the state besides the parameters that are kept."""
    training = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
    training |= {} if state.memory is None else {"memory": state.memory}
    return training if state.average is None else training | {"params": state.params}


def _shapes(tree: Tree) -> Tree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def restore_best(folder: pathlib.Path, params: Tree, buffers: Tree) -> tuple[Tree, Tree]:
    """The best parameters of a run folder, and its buffers, for evaluation.

    Args:
      folder: the folder of `fit`.
      params: arrays of the same shapes, whose shardings the result takes.
      buffers: likewise.
    Raises:
      DataError: the folder holds no checkpoint, or one of another model; or the newest, which names the best one, or
        the best one is damaged: any other would give other answers.
    """
    steps = finished_steps(folder / "checkpoints")
    if not steps:
        none = "no finished checkpoint" if (folder / "checkpoints").is_dir() else "no checkpoints"
        raise DataError(f"{folder} holds {none}; train first, or name another run folder")
    checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
    try:
        best = checkpoints.meta(steps[-1]).get("best_step")
        params = checkpoints.params(steps[-1] if best is None else best, params)
        return params, checkpoints.buffers(buffers)
    finally:
        checkpoints.close()


def finished_steps(folder: pathlib.Path) -> list[int]:
    """Steps of the checkpoints in a folder, in order; one that is being written has a suffix after the step."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit() and path.is_dir())
