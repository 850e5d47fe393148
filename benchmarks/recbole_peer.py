"""Trains one of RecBole's sequence models; run by `benchmarks.baselines` with the Python of an environment that has it.

`python recbole_peer.py FOLDER MODEL SETTINGS`: FOLDER/split holds the events in RecBole's form; SETTINGS is RecBole's
config as JSON. Writes FOLDER/MODEL.npz, scores of all items for each user who has a test item, and prints a line of
JSON. Needs torch and recbole, and nothing of jaxrec.
"""

import contextlib
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed


def main() -> None:
    """Trains, writes the scores, and prints epochs, seconds, targets of an epoch, and targets a second."""
    folder, name, settings = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sys.argv = sys.argv[:1]  # RecBole reads it, too
    config = Config(model=name, dataset="split", config_dict=settings | {"data_path": str(folder)})
    init_seed(config["seed"], True)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    seconds = []
    epoch = trainer._train_epoch

    def timed(*arguments, **named):
        started = time.perf_counter()
        loss = epoch(*arguments, **named)
        seconds.append(time.perf_counter() - started)
        print(f"{name}: epoch {len(seconds)}, {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
        return loss

    trainer._train_epoch = timed
    trainer.fit(train, valid, saved=True, verbose=False, show_progress=False)
    model.load_state_dict(torch.load(trainer.saved_model_file, weights_only=False)["state_dict"])
    os.remove(trainer.saved_model_file)
    model.eval()
    users, scores = [], []
    with torch.no_grad():
        for batch in test:
            interaction = batch[0]
            users.append(interaction[dataset.uid_field].numpy())
            scores.append(model.full_sort_predict(interaction).view(len(users[-1]), -1).numpy())
    tokens = dataset.field2id_token
    items = tokens[dataset.iid_field][1:].astype(np.int64)  # 0 is the padding
    rows = np.concatenate(scores)
    by_item = np.full((len(rows), int(settings["items"])), -np.inf, np.float32)
    by_item[:, items] = rows[:, 1 : len(items) + 1]
    names = tokens[dataset.uid_field][np.concatenate(users)].astype(np.int64)
    np.savez(folder / f"{name}.npz", users=names, scores=by_item)
    epochs = {"epochs": len(seconds), "seconds": sum(seconds), "targets": len(train.dataset)}
    print(json.dumps(epochs | {"targets_per_second": len(train.dataset) / float(np.median(seconds))}))


if __name__ == "__main__":
    answer, sys.stdout = sys.stdout, sys.stderr  # RecBole prints
    with contextlib.redirect_stdout(answer):
        main()
