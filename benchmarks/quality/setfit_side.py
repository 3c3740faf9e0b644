"""Trains SetFit with its defaults on the rows of a JSON file, and writes its predictions.

few_rows.py runs this file with the Python of ``--setfit-python``, which needs setfit and
sentence-transformers, but neither onelayer nor this folder's other files.

    python setfit_side.py JOB.json ANSWER.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Dataset, disable_progress_bars
from setfit import SetFitModel, Trainer, TrainingArguments


def main() -> None:
    asked, answered = map(Path, sys.argv[1:])
    job = json.loads(asked.read_text(encoding="utf-8"))
    disable_progress_bars()
    rows = Dataset.from_dict({"text": job["texts"], "label": job["targets"]})
    start = time.perf_counter()
    # one-vs-rest is what SetFit's guide takes for several labels; there is no default
    strategy = {"multi_target_strategy": "one-vs-rest"} if job["several"] else {}
    model = SetFitModel.from_pretrained(job["model"], **strategy)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            seed=job["seed"],
            save_strategy="no",
            logging_strategy="no",
            show_progress_bar=False,
            report_to="none",
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
    seconds = time.perf_counter() - start
    answer = {
        "predictions": model.predict(job["test"], show_progress_bar=False).tolist(),
        "seconds": seconds,
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    answered.write_text(json.dumps(answer), encoding="utf-8")


PACKAGES = ("setfit", "sentence-transformers", "transformers", "torch")

if __name__ == "__main__":
    main()
