"""Models opened by us and by transformers, whose logits, losses and gradients are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.families import family_with_class
from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.weights import to_theirs
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.nn.model import Model
from onelayer.nn.packed import pack
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag, Task
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tokens.encodings import Encodings, Ints
from support.encodings import N_OPTIONS, random_encodings
from support.tiny_bert import MakeBert

LABELS = ("no", "perhaps", "yes")
QA = AnswerTask(max_length=64, stride=8, max_answer_tokens=30)
TASKS: dict[str, Task] = {
    "label": Classify(labels=LABELS, max_length=64),
    "labels": Classify(labels=LABELS, max_length=64, multi_label=True),
    "value": Regress(max_length=64),
    "tags": Tag(labels=LABELS, scheme=Scheme.PLAIN, max_length=64, stride=8),
    "span": QA,
    "three-way": replace(QA, span_head="three-way"),
    "option": Choose(max_length=64),
}
CONFIGS: dict[str, dict[str, object]] = {
    "label": {"labels": LABELS, "problem_type": "single_label_classification"},
    "labels": {"labels": LABELS, "problem_type": "multi_label_classification"},
    "value": {"num_labels": 1, "problem_type": "regression"},
    "tags": {"labels": LABELS},
    "three-way": {"labels": ("neither", "start", "end")},
}
LENGTHS = [7, 4, 9, 21, 7, 12, 4, 5, 21]
SHAPES: dict[str, dict[str, object]] = {
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16, "num_hidden_layers": 3},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": "p2c|c2p",
        "share_att_key": True,
        "position_buckets": 12,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "conv_kernel_size": 0,
        "conv_act": "gelu",
        "cls_dropout": None,
    },
    # Longer sequences than the local window, and two kinds of layers, the last one local.
    "modernbert": {
        "num_attention_heads": 1,  # wide enough for the kernels
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "local_attention": 10,
    },
}
"""What is set beyond the tiny model's sizes, by family."""
SEGMENTED = ("bert", "electra", "albert")
"""The families that tell two segments apart."""


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0.0)


@dataclass
class Pair:
    """A model opened by us and by transformers."""

    head: str
    ours: Model
    theirs: PreTrainedModel

    def our_loss(self, encodings: Encodings) -> tuple[Tensor, Tensor]:
        head, batch = HEADS[self.head], pack(encodings, everything(encodings))
        logits = self.ours(batch)
        return logits, head.loss(logits, batch, None) / head.weight(batch, None)

    def their_loss(self, encodings: Encodings) -> tuple[Tensor, Tensor]:
        """Their logits at the positions that the head reads, and their loss, for a padded batch."""
        inputs = padded(encodings)
        if not getattr(self.theirs.config, "type_vocab_size", 0):
            del inputs["token_type_ids"]
        gold = torch.from_numpy(encodings.targets)
        rows, columns = read_at(encodings)
        if self.head in ("label", "labels", "value"):
            targets = gold.float() if self.head == "labels" else gold
            out = self.theirs(**inputs, labels=targets)
            return out.logits, out.loss
        if self.head == "option":
            inputs = {name: x.view(-1, N_OPTIONS, x.shape[1]) for name, x in inputs.items()}
            out = self.theirs(**inputs, labels=gold.view(-1, N_OPTIONS).argmax(dim=1))
            return out.logits.view(-1, 1), out.loss
        if self.head == "tags":
            labels = torch.full_like(inputs["input_ids"], IGNORED)
            labels[rows, columns] = gold
            out = self.theirs(**inputs, labels=labels)
            return out.logits[rows, columns], out.loss
        if self.head == "three-way":  # computed by hand: each token, summed by window
            logits = self.theirs(**inputs).logits[rows, columns]
            log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
            return logits, -(gold * log_p).sum() / len(encodings.lengths)
        out = self.theirs(**inputs)
        logits = torch.stack([out.start_logits, out.end_logits], dim=-1)
        masked = torch.full_like(logits, -torch.inf)
        masked[rows, columns] = logits[rows, columns]
        wanted = torch.zeros_like(logits)
        wanted[rows, columns] = gold
        start, end = (
            F.cross_entropy(masked[..., i], wanted[..., i].argmax(dim=1)) for i in range(2)
        )
        return logits[rows, columns], (start + end) / 2


def everything(encodings: Encodings) -> Ints:
    return np.arange(len(encodings.cu_examples) - 1)


def padded(encodings: Encodings) -> dict[str, Tensor]:
    cuts = encodings.cu_seqlens[1:-1]
    ids, segments = (
        [torch.from_numpy(part.astype(np.int64)) for part in np.split(values, cuts)]
        for values in (encodings.ids, encodings.segment_ids)
    )
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "token_type_ids": pad_sequence(segments, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(x) for x in ids], batch_first=True),
    }


def read_at(encodings: Encodings) -> tuple[Tensor, Tensor]:
    """Row and column, in the padded batch, of each vector that the head reads."""
    rows = np.repeat(np.arange(len(encodings.lengths)), np.diff(encodings.cu_reads))
    return torch.from_numpy(rows), torch.from_numpy(encodings.reads.astype(np.int64))


def gradients(model: Model, architecture: str) -> dict[str, Tensor]:
    """The gradients by transformers' names."""
    grads = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        grads[name.removeprefix("encoder.")] = parameter.grad
    return to_theirs(grads, family_with_class(architecture), architecture)


def opened(head: str, make_bert: MakeBert, family: Family = BERT, **changes: object) -> Pair:
    """A random model of a family, with the class for a head."""
    architecture = family.class_for(HEADS[head].form)
    folder = make_bert(architecture, **CONFIGS.get(head, {}), **changes)
    built = build_model(read_checkpoint(folder), TASKS[head])
    assert built.kept_head
    assert built.kept_pooler
    return Pair(head, built.model, getattr(transformers, architecture).from_pretrained(folder))


def every_token(encodings: Encodings) -> Encodings:
    """The same sequences, with every token read."""
    positions = np.concatenate([np.arange(length) for length in encodings.lengths])
    return replace(encodings, reads=positions, cu_reads=encodings.cu_seqlens, targets=None)


def encodings_for(family: Family, head: str, lengths: Sequence[int] = LENGTHS) -> Encodings:
    """Random sequences; with one segment, where the family doesn't tell two apart."""
    encodings = random_encodings(head, lengths)
    if family.model_type in SEGMENTED:
        return encodings
    return replace(encodings, segment_ids=np.zeros_like(encodings.segment_ids))


def pair_of(family: Family, head: str, make_bert: MakeBert, **changes: object) -> Pair:
    """A random model of a family, opened by us and by transformers to predict."""
    pair = opened(head, make_bert, family, **SHAPES.get(family.model_type, {}) | changes)
    pair.ours.eval()
    pair.theirs.eval()
    return pair


def equals_transformers(pair: Pair, encodings: Encodings) -> None:
    """Compares logits, losses and gradients."""
    (our_logits, our_loss), (logits, loss) = pair.our_loss(encodings), pair.their_loss(encodings)
    close(our_logits, logits)
    close(our_loss, loss)
    our_loss.backward()
    loss.backward()
    ours = gradients(pair.ours, type(pair.theirs).__name__)
    theirs = {name: parameter.grad for name, parameter in pair.theirs.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert grad is not None
        close(ours[name], grad)
    assert max(float(grad.abs().max()) for grad in ours.values()) > 1e-2
