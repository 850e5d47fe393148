"""A table that is wanted: its form, its study, and whether the one can be filled by the other."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from jaxrec.config import Config, EvalConfig, load_study
from jaxrec.studies.papers.rows import Layout, Source, layout
from jaxrec.studies.run_folders import run_folder


@dataclasses.dataclass(frozen=True)
class Asked:
    """A table that is wanted, and with what.

    Attributes:
      layout: its form.
      study: configs by the names of rows.
      beside: the paper's dataset whose figures stand beside ours.
      folder: holds a folder NAME-SEED for each run.
      stem: of the files that get the table.
    """

    layout: Layout
    study: Mapping[str, Config]
    beside: str
    folder: pathlib.Path
    stem: str

    @property
    def base(self) -> Config:
        """The study's first, whose data and protocol baselines take."""
        return next(iter(self.study.values()))

    @property
    def sources(self) -> list[Source]:
        """What the table is made of, each run and baseline once, in the order of its rows."""
        found = {}
        for source in self.layout.sources.values():
            found.setdefault((source.run, source.baseline), source)
        return [s for (run, baseline), s in found.items() if baseline or (run and (run in self.study or not s.trained))]

    def config(self, source: Source, seed: int) -> Config | None:
        """Of a run or baseline; None where the study has none for it."""
        if source.baseline:
            name, base = source.baseline, self.base
            config = Config(name=name, data=base.data, protocol=base.protocol)
            config = dataclasses.replace(config, eval=EvalConfig(mask_seen=base.eval.mask_seen))
        else:
            name = source.run or ""
            if name not in self.study:
                return None
            config = self.study[name]
        return dataclasses.replace(config, seed=seed, out=str(run_folder(self.folder, name, seed)))


def ask(
    paper: str, number: int, study: str | None, dataset: str | None, out: pathlib.Path, folder: pathlib.Path | None
) -> Asked:
    """Finds the study of a table; see `jaxrec.studies.papers.make.tables`.

    Raises:
      ValueError: there is no such table, dataset or study.
    """
    form = layout(paper, number)
    wanted = form.beside("", dataset) if dataset else None
    if study is None:
        name = form.studies.get(wanted, form.studies.get("")) if wanted else next(iter(form.studies.values()))
        if name is None:
            known = ", ".join(form.studies)
            raise ValueError(f"dataset {dataset!r}: {form.published.name} has a study for {known} alone; give --study")
        study = name
    configs = load_study(study)
    beside = form.beside(next(iter(configs.values())).data.name, dataset)
    stem = f"{form.published.paper.upper()}-{form.published.number}"
    stem += f"-{beside}" if len(form.studies) > 1 else ""
    return Asked(form, configs, beside, folder or out / pathlib.Path(study).stem, stem)


def check(asked: Asked) -> None:
    """Looks at a table and its study before anything is trained.

    Raises:
      ValueError: the study has no row of the table, none is asked what the table shows, or its rows are of several
        datasets.
    """
    name, form = asked.layout.published.name, asked.layout
    configs = {s.run: config for s in asked.sources if s.run and (config := asked.study.get(s.run))}
    wanted = dict.fromkeys(s.run for s in form.sources.values() if s.run)
    if wanted and not configs:
        raise ValueError(f"study: it has no row of {name} ({', '.join(wanted)}); its rows: {', '.join(asked.study)}")
    data = {(c.data.name, c.protocol) for c in (*configs.values(), asked.base)}
    if len(data) > 1:
        raise ValueError(f"study: one table can't hold several data or protocols, {name} has {sorted(data)}")
    missing = [
        _lacks(configs[s.run], s, m) for s in form.sources.values() if s.run in configs for m in form.measures.values()
    ]
    if missing and all(missing) and not any(s.baseline for s in asked.sources):
        raise ValueError(f"study: {name} can't be filled, no row's config has {missing[0]}; give another --study")


def _lacks(config: Config, source: Source, measure: str) -> str:
    """What a config would have to ask for a figure; "" where it does."""
    tasks = config.task.tasks
    if "direct" not in tasks and ("user id only" in source.system or "user id only" in measure):
        return "task.tasks direct"
    if "/" in measure and (task := measure.removeprefix("ms/").split("/")[0]) not in tasks:
        return f"task.tasks {task}"
    if "unseen users" in measure and not config.data.unseen_users:
        return "data.unseen_users above 0"
    if "unseen prompt" in source.system and config.eval.prompt != "both":
        return "eval.prompt both"
    return ""
