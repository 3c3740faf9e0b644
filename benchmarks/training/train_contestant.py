"""One contestant of train_speed.py, in a process of its own. Started by it, not by hand.

``ours`` calls the code that ``onelayer train`` runs, step by step. ``trainer`` is transformers'
Trainer with its own loop, which a callback stops at the end of every turn.

The clock of a turn starts with the turn and stops after its last optimizer step. So it includes
everything that a step needs: making batches, clipping gradients, setting learning rates. (The
Trainer's loader works one batch ahead: a turn makes the first batch of the next turn, and gets its
own first batch from the turn before.)
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.support.turns import Batch, Turns

if TYPE_CHECKING:
    from onelayer.nn.packed import Packed
    from onelayer.tokens.encodings import Ints

Record = dict[str, Any]
LR, WEIGHT_DECAY, MAX_GRAD_NORM = 5e-5, 0.01, 1.0


def main() -> None:
    spec = json.loads(sys.argv[1])
    turns = Turns(spec["device"])
    {"ours": ours, "trainer": trainer}[spec["side"]](spec, turns)


# Ours.


def ours(spec: Record, turns: Turns) -> None:
    from benchmarks.training.train_sets import SpeedSet, random_batches, read_rows
    from onelayer.checkpoint import read as checkpoints
    from onelayer.checkpoint.build import build_model
    from onelayer.checkpoint.config import read_config, read_tokenizer
    from onelayer.nn.heads import HEADS
    from onelayer.recipe import Recipe
    from onelayer.tokens.encodings import counts, ragged
    from onelayer.training import gpu_steps
    from onelayer.training.kept_memory import kept_memory
    from onelayer.training.optimizer import adamw
    from onelayer.training.precision import faster_precision
    from onelayer.training.weight_updates import packed_parts, update_weights

    speed_set = SpeedSet(**spec["set"])
    recipe = Recipe(
        task=speed_set.task,
        lr=LR,
        batch_size=spec["batch_size"],
        max_length=speed_set.max_length,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRAD_NORM,
    )
    kind, rows = read_rows(speed_set, Path(spec["data"]))
    folder = Path(spec["model"])
    tokenizer = read_tokenizer(folder, read_config(folder)[0])
    task = kind.fit(rows, tokenizer, recipe, speed_set.max_length)
    encodings = task.encode(rows, tokenizer, labelled=True)
    turns.ready()

    checkpoint = checkpoints.read_checkpoint(folder)
    model = build_model(checkpoint, task).model.to(spec["device"])
    checkpoint = replace(checkpoint, encoder={}, head={})  # as a run does
    if (precision := spec["precision"]) == "auto":
        precision = faster_precision(checkpoint.config, lambda remark: None)
    model.train_in(precision)
    optimizer = adamw(model, lr=LR, weight_decay=WEIGHT_DECAY)
    model.train()
    head, batches = HEADS[task.head], random_batches(encodings.n_examples, recipe.batch_size)
    examples: dict[int, Ints] = {}

    def parts_of(step: int) -> list[Packed]:
        examples[step] = next(batches)
        return packed_parts(encodings, examples[step], recipe.token_budget)

    if spec["device"] == "cuda":
        network = gpu_steps.compiled(model) if spec["compiled"] else model
        if not spec["recorded"]:
            gpu_steps.MAX_GRAPHS = 0
        steps = gpu_steps.GpuSteps(network, head, optimizer, MAX_GRAD_NORM, None)

    def learn(step: int) -> None:
        if spec["device"] == "cuda":
            steps.update_weights(steps.prepared(parts_of, step))
        else:
            update_weights(model, head, parts_of(step), optimizer, MAX_GRAD_NORM, None)

    def batch_of(step: int) -> Batch:
        chosen = examples.pop(step)
        per_example = counts(encodings.cu_examples, chosen)
        sequences = ragged(encodings.cu_examples[chosen], per_example)
        lengths = encodings.lengths[sequences].tolist()
        return Batch(lengths, sum(lengths), counts(encodings.cu_reads, sequences).tolist())

    turns.prepared()
    with kept_memory():  # as a run does
        more, step = turns.wait(), 0
        while more:
            learn(step)
            more = turns.stepped(batch_of(step))
            step += 1


# The Trainer.


def trainer(spec: Record, turns: Turns) -> None:
    import torch
    from torch.utils.data import Sampler
    from transformers import (
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    from benchmarks.quality import trainer_peer as peer
    from benchmarks.training.train_sets import random_batches

    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    rows = json.loads(Path(spec["rows"]).read_text(encoding="utf-8"))
    setup = peer.SETUPS[spec["set"]["task"]](rows, [], tokenizer, spec["set"]["max_length"])
    collated: deque[Batch] = deque()

    def collate(features: peer.Features) -> Any:
        lengths = [len(feature["input_ids"]) for feature in features]
        batch = setup.collate(features)
        collated.append(Batch(lengths, batch["input_ids"].numel()))
        return batch

    class InTurns(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            turns.prepared(**chosen)
            turns.wait()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not turns.stepped(collated.popleft()):
                control.should_training_stop = True

    class Order(Sampler[int]):
        """Random batches are the same as onelayer's. Batches of ``group_by_length`` are the
        Trainer's own, in an order in which every prefix is representative: the Trainer sorts pools
        of up to 50 batches from long to short, and a short run would only see the long ones."""

        def __init__(self, grouped: Sampler[int]) -> None:
            self.grouped = grouped
            self.random = random_batches(len(setup.train), spec["batch_size"])

        def __len__(self) -> int:
            return len(setup.train)

        def __iter__(self) -> Iterator[int]:
            if spec["sampling"] == "random":
                taken = 0
                while taken < len(self):
                    batch = next(self.random).tolist()
                    taken += len(batch)
                    yield from batch
                return
            order = list(self.grouped)
            size = spec["batch_size"]
            whole = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
            rest = order[len(whole) * size :]
            whole.sort(key=lambda b: -max(len(setup.train[i]["input_ids"]) for i in b))
            for place in spread_out(len(whole)):
                yield from whole[place]
            yield from rest

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Order:
            return Order(super()._get_train_sampler(train_dataset))

    turns.ready()
    cuda = spec["device"] == "cuda"
    model = setup.auto_model.from_pretrained(spec["model"], **setup.config)
    chosen = {}
    if spec["fastest_attention"]:
        chosen["attention"] = fastest_attention(model, setup, spec)
        model.set_attn_implementation(chosen["attention"])
    run = InOrder(
        model=model,
        args=TrainingArguments(
            output_dir=spec["scratch"],
            num_train_epochs=1000,
            learning_rate=LR,
            lr_scheduler_type="constant",
            per_device_train_batch_size=spec["batch_size"],
            train_sampling_strategy=spec["sampling"],
            optim="adamw_torch_fused",
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=MAX_GRAD_NORM,
            bf16=spec["bf16"],
            use_cpu=not cuda,
            seed=0,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=cuda,
        ),
        train_dataset=setup.train,
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[InTurns()],
    )
    run.remove_callback(PrinterCallback)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    run.train()


def spread_out(n: int) -> list[int]:
    """0 to n - 1: first 0, then the middle, the quarters, the eighths (van der Corput). Every
    prefix is evenly spread."""
    bits = max(1, (n - 1).bit_length())
    reversed_ = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)]
    return list(dict.fromkeys(i * n >> bits for i in reversed_))


def fastest_attention(model: Any, setup: Any, spec: Record) -> str:
    """The implementation with the fastest forward and backward pass of a quarter of a batch of
    median length. Each is tried twice, and the faster try counts."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    device = spec["device"]
    candidates = ["eager", "sdpa"]
    if device == "cuda" and spec["bf16"] and is_flash_attn_2_available():
        candidates.append("flash_attention_2")
    order = sorted(range(len(setup.train)), key=lambda i: len(setup.train[i]["input_ids"]))
    middle = order[len(order) // 2 :][: max(1, spec["batch_size"] // 4)]
    batch = setup.collate([dict(setup.train[i]) for i in middle]).to(device)
    model.to(device).train()
    times: dict[str, float] = {}
    for candidate in candidates:
        model.set_attn_implementation(candidate)
        if model.config._attn_implementation != candidate:
            continue  # a family for which transformers doesn't have it; this only warned
        tries = []
        for _ in range(3):
            started = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=spec["bf16"]):
                loss = model(**batch).loss
            loss.backward()
            if device == "cuda":
                torch.cuda.synchronize()
            tries.append(time.perf_counter() - started)
            model.zero_grad()
        times[candidate] = min(tries[1:])
    return min(times, key=times.__getitem__)


if __name__ == "__main__":
    main()
