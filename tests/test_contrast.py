"""What a run does where rows are few: the mean is read, texts of a label are drawn together, and
the new layer is fitted in closed form."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sklearn.linear_model import LogisticRegression, RidgeCV
from torch.nn import functional as F

import onelayer
from onelayer.base.errors import CheckpointError, DataError, Place, UsageError
from onelayer.checkpoint.build import build_model, pretrained_state, state_of
from onelayer.checkpoint.mean_layer import pools_mean, reads_mean, with_mean_layer
from onelayer.checkpoint.read import describe, read_checkpoint
from onelayer.data.in_memory import source_of
from onelayer.nn.contrast import contrast, near, same_class, shared_classes
from onelayer.nn.heads import HEADS
from onelayer.nn.packed import pack
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask, Classify, Regress
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings, EncodingsBuilder
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import fit
from onelayer.training.descriptions import COPIES, read_descriptions
from onelayer.training.fit import Fit
from onelayer.training.history import History
from onelayer.training.new_layer import PENALTIES, fit_layer
from onelayer.training.plan import Plan, make_plan
from onelayer.training.progress import Silent
from onelayer.training.sampler import evenly
from onelayer.training.schedule import with_schedule
from support.tiny_bert import MakeBert
from support.trainers import plan_of

HERE = Place("rows.jsonl")
CLASSIFY = Classify(labels=("bad", "good"), max_length=64)
TEXTS = ("the bad cat", "good", "bad bad dogs", "a good good cat", "bad 我们", "the good")
FEW = Recipe(read="mean", contrast=4, epochs=0, lr=1e-3, batch_size=32, precision="fp32")


def encoded(task: AnyTask, labels: list[object], tokenizer: Tokenizer) -> Encodings:
    rows = [TextRow(text, None, labels[i], HERE) for i, text in enumerate(TEXTS)]
    return task.encode(rows, tokenizer, labelled=True)


def classified(tokenizer: Tokenizer) -> Encodings:
    return encoded(CLASSIFY, ["bad", "good"] * 3, tokenizer)


def sentence_encoder(model: Path, folder: Path, **pooling: object) -> Path:
    """A copy of a model in ``folder``, with what sentence-transformers writes next to one."""
    shutil.copytree(model, folder)
    kind = "sentence_transformers.models."
    modules = [
        {"idx": 0, "path": "", "type": f"{kind}Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": f"{kind}Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


# What the layer reads.


def test_added_layer_gives_cls_the_mean_of_all_token_vectors(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    folder = make_bert()
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    model = build_model(with_mean_layer(read_checkpoint(folder)), CLASSIFY).model.eval()
    for text in TEXTS:
        row = TextRow(text, None, "bad", HERE)
        encodings = CLASSIFY.encode([row], tokenizer, labelled=True)
        with torch.no_grad():
            ids = torch.from_numpy(encodings.ids.astype(np.int64))[None]
            mean = theirs(ids).last_hidden_state[0].mean(dim=0)
            read = model.vectors(pack(encodings, np.array([0])))[0]
        assert F.cosine_similarity(mean - mean.mean(), read, dim=0) > 0.99


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True}, True),
        ({"pooling_mode_cls_token": True}, False),
        ({"pooling_mode": "mean"}, True),
        ({"pooling_mode": ["cls", "mean"]}, True),
        ({"pooling_mode": "cls"}, False),
    ],
)
def test_pooling_is_read_from_the_files_of_a_sentence_encoder(
    make_bert: MakeBert, tmp_path: Path, pooling: dict[str, object], expected: bool
) -> None:
    assert pools_mean(sentence_encoder(make_bert(), tmp_path / "model", **pooling)) is expected


def test_mean_is_read_of_a_base_without_pooler_and_not_of_a_fine_tuned_model(
    make_bert: MakeBert, tmp_path: Path
) -> None:
    assert not reads_mean(describe(make_bert()))
    assert reads_mean(describe(make_bert("BertForMaskedLM")))
    tuned = make_bert("BertForSequenceClassification", labels=("a", "b"))
    tuned = sentence_encoder(tuned, tmp_path / "model", pooling_mode_mean_tokens=True)
    assert not reads_mean(describe(tuned))
    asked = Recipe(task="classify", read="mean")
    with pytest.raises(UsageError, match="fine-tuned already"):
        with_schedule(asked, HEADS["label"], describe(tuned), of_rows(10))


def test_layer_of_the_checkpoint_is_fitted_again_after_contrast(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    tuned = make_bert("BertForSequenceClassification", labels=("bad", "good"))
    one = Fit(plan_for(tuned, tokenizer, replace(FEW, read="cls")))
    assert one.built.kept_head
    while not one.is_trained:
        one.train_step()
    fitted = one.model.head.weight.detach().clone()
    one._fit_layer()
    torch.testing.assert_close(one.model.head.weight.detach(), fitted)


@pytest.mark.parametrize(
    ("sign", "steps", "collapsed"), [(1, 20, True), (-1, 20, False), (1, 19, False)]
)
def test_weights_go_the_whole_way_back_if_contrast_was_for_nothing(
    make_bert: MakeBert,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    sign: int,
    steps: int,
    collapsed: bool,
) -> None:
    """Its loss is set here, to falling and to rising."""
    learn = Fit._contrast
    monkeypatch.setattr(
        Fit, "_contrast", lambda self, step: (10.0 + sign * step, learn(self, step)[1])
    )
    folder, name = make_bert(), "layers.0.attention.qkv.weight"
    pretrained = pretrained_state(with_mean_layer(read_checkpoint(folder)), HEADS["label"])
    one = Fit(plan_for(folder, tokenizer, replace(FEW, contrast=steps)))
    while not one.is_trained:
        one.train_step()
    assert one.has_collapsed is collapsed
    assert torch.equal(state_of(one.model)[name], pretrained[name]) is collapsed


def test_contrast_that_was_for_nothing_is_said(
    make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fit, "_contrast", lambda self, step: (1.0 + step, 1))
    train = tmp_path / "train.jsonl"
    rows = [{"text": text, "label": ("bad", "good")[i % 2]} for i, text in enumerate(TEXTS)]
    train.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    folder = sentence_encoder(make_bert(), tmp_path / "base", pooling_mode_mean_tokens=True)

    run = onelayer.finetune(
        train, model=str(folder), out=tmp_path / "run", contrast=20, epochs=0, folds=0
    )
    assert run.record is not None
    assert run.record.choices is not None
    told = "contrast has told the texts no better apart"
    assert sum(told in choice for choice in run.record.choices) == 1


def test_deeper_models_contrast_at_a_lower_rate(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    rates = [
        Fit(plan_for(make_bert(num_hidden_layers=n), tokenizer, FEW)).lr_of(1) for n in (2, 12)
    ]
    assert rates[0] == pytest.approx(2 * rates[1])


@pytest.mark.parametrize("modules", ["{}", "[1]", '[{"type": "x.Pooling", "path": "gone"}]'])
def test_unknown_modules_are_no_mean_pooling(
    make_bert: MakeBert, tmp_path: Path, modules: str
) -> None:
    folder = shutil.copytree(make_bert(), tmp_path / "model")
    assert not pools_mean(folder)
    (folder / "modules.json").write_text(modules)
    assert not pools_mean(folder)


def test_damaged_modules_are_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    folder = shutil.copytree(make_bert(), tmp_path / "model")
    (folder / "modules.json").write_text("[{")
    with pytest.raises(CheckpointError, match=r"modules\.json"):
        pools_mean(folder)


# Contrast.


def test_contrast_is_the_mean_log_loss_of_finding_texts_of_the_same_label() -> None:
    torch.manual_seed(0)
    x_RD, labels = torch.randn(5, 8), [0, 1, 0, 1, 2]
    losses = []
    for i in range(5):
        others = [j for j in range(5) if j != i]
        cosines = [float(F.cosine_similarity(x_RD[i], x_RD[j], dim=0)) / 0.1 for j in others]
        log_p = torch.tensor(cosines).log_softmax(dim=0)
        same = [k for k, j in enumerate(others) if labels[j] == labels[i]]
        if same:
            losses.append(-float(log_p[same].mean()))
    found = contrast(x_RD, same_class(torch.tensor(labels)))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_contrast_of_texts_without_anything_in_common_is_zero() -> None:
    x_RD = torch.randn(3, 4, requires_grad=True)
    loss = contrast(x_RD, same_class(torch.tensor([0, 1, 2])))
    loss.backward()
    assert loss.item() == 0.0
    assert x_RD.grad is not None
    assert not x_RD.grad.any()


def test_rows_with_several_labels_are_alike_by_the_share_of_common_ones() -> None:
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    found = shared_classes(targets)
    assert found[0].tolist() == pytest.approx([1, 1 / 2, 0, 0])
    assert found[3].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("n", "sizes"), [(17, [9, 8]), (16, [16]), (33, [11, 11, 11]), (1, [1])])
def test_batches_of_contrast_are_alike_in_size(n: int, sizes: list[int]) -> None:
    sampler = evenly(n, 16, 0)
    assert [len(sampler.batch(step)) for step in range(sampler.steps_per_epoch)] == sizes


def test_texts_with_numbers_are_alike_by_their_distance() -> None:
    found = near(torch.tensor([-1.0, -0.5, 2.0]))
    assert found[0].tolist() == pytest.approx([1, math.exp(-0.5), math.exp(-18)])


# The new layer in closed form.


def test_layer_is_that_of_logistic_regression(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    model = build_model(read_checkpoint(make_bert()), CLASSIFY).model
    encodings = classified(tokenizer)
    fit_layer(model, encodings, HEADS["label"], None, token_budget=64, seed=0)
    with torch.no_grad():
        vectors = model.eval().vectors(pack(encodings, np.arange(len(TEXTS))))
        logits = model(pack(encodings, np.arange(len(TEXTS))))
    x = (vectors / vectors.square().sum(dim=1).mean().sqrt()).double().numpy()
    # The two rows of a softmax layer are opposite, so the penalty of both is half that of one.
    peer = LogisticRegression(C=2.0, tol=1e-10).fit(x, encodings.targets)
    found = (logits[:, 1] - logits[:, 0]).numpy()
    np.testing.assert_allclose(found, peer.decision_function(x), atol=5e-3)


def test_layer_of_numbers_is_that_of_ridge_regression(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    task = Regress(mean=0.0, deviation=1.0, max_length=64)
    model = build_model(read_checkpoint(make_bert()), task).model
    for targets in ([-1.0, 1.2, -0.8, 1.0, -0.9, 0.5], [0.3, -1.1, 0.9, 1.4, -0.2, -1.3]):
        encodings = encoded(task, targets, tokenizer)
        fit_layer(model, encodings, HEADS["value"], None, token_budget=64, seed=0)
        with torch.no_grad():
            vectors = model.eval().vectors(pack(encodings, np.arange(len(TEXTS))))
            found = model(pack(encodings, np.arange(len(TEXTS))))[:, 0].numpy()
        x = (vectors / vectors.square().sum(dim=1).mean().sqrt()).double().numpy()
        # Without folds scikit-learn leaves rows out one by one, too.
        peer = RidgeCV(alphas=PENALTIES).fit(x, encodings.targets)
        np.testing.assert_allclose(found, peer.predict(x), atol=1e-5)


def test_layer_of_one_number_is_that_number(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    task = Regress(mean=0.0, deviation=1.0, max_length=64)
    model = build_model(read_checkpoint(make_bert()), task).model
    rows = encoded(task, [0.7] * len(TEXTS), tokenizer)
    for encodings in (rows, rows.part(0, 1)):
        fit_layer(model, encodings, HEADS["value"], None, token_budget=64, seed=0)
        assert not model.head.weight.any()
        assert model.head.bias.tolist() == pytest.approx([0.7])


# A run.


def plan_for(folder: Path, tokenizer: Tokenizer, recipe: Recipe = FEW) -> Plan:
    return plan_of(folder, CLASSIFY, classified(tokenizer), recipe)


def test_weights_end_between_the_pretrained_and_the_trained_ones(
    make_bert: MakeBert, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weights = make_bert(), {}
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setattr(fit, "PRETRAINED_SHARE", share)
        one = Fit(plan_for(folder, tokenizer))
        while not one.is_trained:
            one.train_step()
        state = state_of(one.model)
        weights[share] = {n: x.clone() for n, x in state.items() if not n.startswith("head.")}
    pretrained = pretrained_state(with_mean_layer(read_checkpoint(folder)), HEADS["label"])
    for name, half in weights[0.5].items():
        torch.testing.assert_close(weights[1.0][name], pretrained[name])
        torch.testing.assert_close(half, (weights[0.0][name] + pretrained[name]) / 2)


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_fit_resumes_bit_for_bit(make_bert: MakeBert, tokenizer: Tokenizer, stop: int) -> None:
    recipe = replace(FEW, contrast=2, epochs=2, batch_size=3)
    plan = plan_for(make_bert(hidden_dropout_prob=0.1), tokenizer, recipe)
    whole, again = Fit(plan), Fit(plan)
    assert whole.total_steps == 2 + 2 * 2
    for _ in range(stop):
        whole.train_step()
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    again.history = History.from_json(whole.history.to_json())
    expected = _next_weights(whole)
    again.load_state_dict(state)
    assert torch.equal(_next_weights(again), expected)


def _next_weights(one: Fit) -> torch.Tensor:
    one.train_step()
    one.optimizer.apply_all_missed_steps()
    return torch.cat([weight.detach().flatten() for weight in one.model.parameters()]).clone()


def test_run_reads_the_mean_and_opens_with_transformers(
    make_bert: MakeBert, tmp_path: Path
) -> None:
    folder = sentence_encoder(make_bert(), tmp_path / "model", pooling_mode_mean_tokens=True)
    train = tmp_path / "train.csv"
    lines = [f"{'good' if i % 2 else 'bad'} {i},{'ab'[i % 2]}" for i in range(24)]
    train.write_text("text,label\n" + "\n".join(lines) + "\n")
    run = tmp_path / "run"
    predictor = onelayer.finetune(train, model=str(folder), out=run, contrast=3, lr=1e-3)
    assert predictor.record is not None
    assert predictor.record.recipe is not None
    assert (predictor.record.recipe["read"], predictor.record.recipe["epochs"]) == ("mean", 0)
    assert "averaged with the pretrained ones" in (run / "README.md").read_text()
    config = json.loads((run / "config.json").read_text())
    assert config["num_hidden_layers"] == 3
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(run).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    with torch.no_grad():
        logits = theirs(**tokenizer(["good 1"], return_tensors="pt")).logits[0]
    best = max(predictor.predict(["good 1"])[0].probabilities.items(), key=lambda one: one[1])
    assert best[0] == theirs.config.id2label[int(logits.argmax())]


# The schedule.


def of_rows(n: int, second: bool = False) -> Encodings:
    """Encodings of ``n`` rows of two tokens; the second token may be that of a second text."""
    builder = EncodingsBuilder()
    for _ in range(n):
        builder.start_row(2)
        builder.add([0, 0], 1 if second else 2)
    return builder.build(examples_are_rows=True)


@pytest.mark.parametrize(
    ("rows", "contrast"), [(16, 30), (32, 40), (160, 60), (500, 157), (8000, 320), (8001, 0)]
)
def test_contrast_is_for_few_texts_of_a_sentence_encoder(
    make_bert: MakeBert, tmp_path: Path, rows: int, contrast: int
) -> None:
    folder = sentence_encoder(make_bert(), tmp_path / "model", pooling_mode_mean_tokens=True)
    base, recipe = describe(folder), Recipe(task="classify")
    found = with_schedule(recipe, HEADS["label"], base, of_rows(rows))
    assert (found.read, found.contrast) == ("mean" if contrast else "cls", contrast)
    assert (found.epochs == 0) == (rows < 500)
    pairs = with_schedule(recipe, HEADS["label"], base, of_rows(rows, second=True))
    assert (pairs.read, pairs.contrast) == ("both" if rows < 500 else "cls", 0)
    asked = with_schedule(replace(recipe, epochs=2), HEADS["label"], base, of_rows(rows))
    assert (asked.contrast, asked.epochs) == (0, 2)


@pytest.mark.parametrize(
    ("head", "recipe", "message"),
    [
        ("tags", Recipe(task="tag", read="mean"), "--read mean"),
        ("option", Recipe(task="choose", contrast=9), "--contrast 9"),
        ("label", Recipe(task="classify", epochs=0), "--epochs 0"),
        ("label", Recipe(task="classify", contrast=9, freeze="encoder"), "--freeze encoder"),
    ],
)
def test_schedule_that_does_not_fit_the_task_is_refused(
    make_bert: MakeBert, head: str, recipe: Recipe, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        with_schedule(recipe, HEADS[head], describe(make_bert()), of_rows(10))


def test_all_seeds_have_the_schedule_of_the_first(make_bert: MakeBert, tmp_path: Path) -> None:
    folder = sentence_encoder(make_bert(), tmp_path / "model", pooling_mode_mean_tokens=True)
    rows = [{"text": f"{'good' if i % 2 else 'bad'} {i}", "label": "ab"[i % 2]} for i in range(8)]
    predictor = onelayer.finetune(
        rows, model=str(folder), out=tmp_path / "run", seeds=2, folds=2, lr=1e-3, max_length=16
    )
    assert predictor.record is not None
    assert predictor.record.seeds is not None
    assert len(predictor.record.seeds.scores) == 2
    assert predictor.record.recipe is not None
    assert predictor.record.recipe["contrast"] == 30


# Descriptions of labels.


def described(task: AnyTask, content: str, tokenizer: Tokenizer, folder: Path) -> Encodings:
    file = folder / "labels.csv"
    file.write_text(content, encoding="utf-8")
    return read_descriptions(file, task, Recipe(text="review"), tokenizer, lambda remark: None)


def test_description_is_learned_like_a_row_and_not_scored(
    make_bert: MakeBert, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plan = plan_for(make_bert(), tokenizer)
    content = "label,description\nbad,bad bad 我们\ngood,the good\n"
    found = described(CLASSIFY, content, tokenizer, tmp_path)
    with_descriptions = replace(plan, descriptions=found)
    rows = plan.learned
    learned = with_descriptions.learned
    assert (rows.n_examples, learned.n_examples) == (len(TEXTS), len(TEXTS) + 2 * COPIES)
    assert learned.targets is not None
    assert learned.targets.tolist() == [0, 1, 0, 1, 0, 1] + [0, 1] * COPIES
    assert len(with_descriptions.data.encodings) == len(TEXTS)
    assert Fit(with_descriptions).encodings.n_examples == learned.n_examples


@pytest.mark.parametrize(
    ("task", "content", "error", "message"),
    [
        (CLASSIFY, "label,description\n7,what\n", DataError, "'7'"),
        (
            CLASSIFY,
            "label,text\nugly,a word that no label has\nbad,bad it is said\n",
            DataError,
            "ugly",
        ),
        (
            Regress(mean=0.0, deviation=1.0, max_length=64),
            "label,description\n1,a word\n2,b\n",
            UsageError,
            "no labels of",
        ),
        (CLASSIFY, "label,text,pair\nbad,a,b\ngood,c,d\n", UsageError, "one text, not a pair"),
    ],
)
def test_description_that_can_not_be_learned_is_refused(
    tokenizer: Tokenizer,
    tmp_path: Path,
    task: AnyTask,
    content: str,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        described(task, content, tokenizer, tmp_path)


def test_run_with_other_descriptions_is_another_run(make_bert: MakeBert, tmp_path: Path) -> None:
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(TEXTS)]
    recipe, plans = Recipe(model=str(make_bert()), folds=2), []
    for meaning in ("good", "bad", "good"):
        file = [{"label": "a", "description": meaning}]
        plans.append(make_plan(source_of(rows), None, recipe, Silent(), described=source_of(file)))
    assert plans[0].identity == plans[2].identity != plans[1].identity
    # Descriptions are no labelled rows, which other commands look for there.
    assert plans[0].files.places().keys() == {"train", "dev"}
