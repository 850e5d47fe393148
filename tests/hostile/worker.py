"""A process to race or to kill: python worker.py TASK FOLDER [...]; prints "ready" when it begins, "done" at the end.

train FOLDER          trains the run of FOLDER.json into FOLDER
update FOLDER FILE    adds a file's events to a run; begins when FILE.go exists
export FOLDER OUT     exports a run
"""

import json
import pathlib
import resource
import sys
import time

import jax

import jaxrec
from jaxrec import experiment
from jaxrec.config import Config, from_dict

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(__file__).parents[2] / ".cache" / "jax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def say(word: str) -> None:
    print(word, flush=True)


def main(task: str, folder: pathlib.Path, *rest: str) -> None:
    if task == "train":
        config = from_dict(Config, json.loads(folder.with_name(folder.name + ".json").read_text()))
        say("ready")
        if rest:  # bytes that a file may have: a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(rest[0]), resource.RLIM_INFINITY))
        experiment.train(config)
    else:
        run = jaxrec.load(folder)
        assert isinstance(run, jaxrec.TrainedRun)
        say("ready")
        if task == "update":
            (file,) = rest
            while not pathlib.Path(file + ".go").exists():
                time.sleep(0.001)
            run.update(file)
        else:
            (out,) = rest
            run.export(out, samples=2)
    say("done")


if __name__ == "__main__":
    try:
        main(sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:])
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
