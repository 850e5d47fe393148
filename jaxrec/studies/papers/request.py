"""A table to fill: its layout and study, and checks that the study can fill it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from jaxrec.config import Config, EvalConfig, load_study
from jaxrec.studies.papers.layout import Layout, Source
from jaxrec.studies.papers.layouts import table_layout
from jaxrec.studies.run_folders import run_folder


@dataclasses.dataclass(frozen=True)
class TableRequest:
    """A table to fill and the study that fills it.

    Attributes:
      layout: the table's layout.
      study: configs by the names of rows.
      paper_dataset: the paper's dataset whose figures are next to ours.
      folder: holds a folder NAME-SEED for each run.
      stem: name of the table's files, without extension.
    """

    layout: Layout
    study: Mapping[str, Config]
    paper_dataset: str
    folder: pathlib.Path
    stem: str

    @property
    def base(self) -> Config:
        """The study's first config, whose data and protocol the baselines use."""
        return next(iter(self.study.values()))

    @property
    def sources(self) -> list[Source]:
        """The runs and baselines that the table needs, each once, in the order of its rows."""
        by_key = {}
        for source in self.layout.sources.values():
            by_key.setdefault(source.key, source)
        return [s for s in by_key.values() if s.baseline or (s.run and (s.run in self.study or not s.trained))]

    def config(self, source: Source, seed: int) -> Config | None:
        """The config of a run or baseline; None if the study has none."""
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


def table_request(
    paper: str, number: int, study: str | None, dataset: str | None, out: pathlib.Path, folder: pathlib.Path | None
) -> TableRequest:
    """Finds the study of a table; see `jaxrec.studies.papers.tables.paper_tables`.

    Raises:
      ValueError: there is no such table, dataset or study.
    """
    layout = table_layout(paper, number)
    chosen = layout.paper_dataset("", dataset) if dataset else None
    if study is None:
        study = layout.studies.get(chosen, layout.studies.get("")) if chosen else next(iter(layout.studies.values()))
        if study is None:
            name, datasets = layout.published.name, ", ".join(layout.studies)
            raise ValueError(f"dataset {dataset!r}: {name} has a study for {datasets} alone; give --study")
    configs = load_study(study)
    paper_dataset = layout.paper_dataset(next(iter(configs.values())).data.name, dataset)
    stem = f"{layout.published.paper.upper()}-{layout.published.number}"
    stem += f"-{paper_dataset}" if len(layout.studies) > 1 else ""
    return TableRequest(layout, configs, paper_dataset, folder or out / pathlib.Path(study).stem, stem)


def check_request(request: TableRequest) -> None:
    """Checks a table and its study before anything is trained.

    Raises:
      ValueError: the study has no row of the table, no row has the tasks of the table, or the rows have several
        datasets.
    """
    name, layout = request.layout.published.name, request.layout
    configs = {s.run: config for s in request.sources if s.run and (config := request.study.get(s.run))}
    rows = dict.fromkeys(s.run for s in layout.sources.values() if s.run)
    if rows and not configs:
        raise ValueError(f"study: it has no row of {name} ({', '.join(rows)}); its rows: {', '.join(request.study)}")
    data = {(c.data.name, c.protocol) for c in (*configs.values(), request.base)}
    if len(data) > 1:
        raise ValueError(f"study: one table can't hold several data or protocols, {name} has {sorted(data)}")
    missing = [
        _missing_setting(configs[source.run], source, measure)
        for source in layout.sources.values()
        if source.run in configs
        for measure in layout.measures.values()
    ]
    if missing and all(missing) and not any(source.baseline for source in request.sources):
        raise ValueError(f"study: {name} can't be filled, no row's config has {missing[0]}; give another --study")


def _missing_setting(config: Config, source: Source, measure: str) -> str:
    """The setting that a config lacks for a measure; "" if none."""
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
