"""The model card of a bundle, with a table of scores, sizes and speeds before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onelayer.checkpoint.build import named_outputs
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.checkpoint.export_record import ExportRecord, Parity
from onelayer.checkpoint.families import family_with_class
from onelayer.checkpoint.source import hub_name
from onelayer.engines.registry import title_of
from onelayer.prediction.predictor import Predictor


def bundle_card(
    run: Predictor,
    name: str,
    architecture: str,
    inputs: Sequence[str],
    export: ExportRecord,
) -> str:
    """A Hugging Face model card in Markdown.

    Parameters
    ----------
    run
        The exported model.
    name
        The bundle's.
    architecture
        transformers' class of the model.
    inputs
        The names of the graph's inputs.
    export
        What was measured.
    """
    record = run.record
    recipe = (record.recipe if record else None) or {}
    data, dev = (record.data, record.dev) if record else (None, None)
    base = str(recipe.get("model") or (run.path.name if run.path else name))
    facts = CardFacts(
        name=name,
        task=run.task,
        architecture=architecture,
        base_model=base,
        taught=record.taught if record else None,
        hub_name=hub_name(base) if recipe else None,
        data=data.train if data else "data that is not known",
        rows=data.counts if data else {},
        labels=named_outputs(run.task),
        split=dev.on if dev else "dev",
        scores=dev.scores if dev else {},
        intervals=dev.intervals if dev else {},
        tags=("onnx", *(["int8"] if export.precision == "int8" else [])),
    )
    return model_card(
        facts, f"{_exported(export)}\n\n{_usage(name, run.task.example, architecture, inputs)}"
    )


def _exported(export: ExportRecord) -> str:
    parts = [f"## Exported in {export.precision}"]
    parts.append(
        f"On {export.rows:,} rows ({export.file}), each read by the run in torch and by this "
        "bundle:"
    )
    head, *rows = cells(export)
    lines = [head, ["---"] * len(head), *rows]
    parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if export.vocabulary is not None:
        told = export.vocabulary.in_words()
        parts.append("\n".join(f"{line[0].upper()}{line[1:]}." for line in told))
    if export.four_bit_words is not None:
        told_bits = export.four_bit_words.in_words()
        parts.append(f"{told_bits[0].upper()}{told_bits[1:]}.")
    if export.first is not None:
        told_first = export.first.in_words()
        parts.append(
            f"{told_first[0].upper()}{told_first[1:]}. What opens `onnx/model.onnx` by itself asks "
            "all layers each time."
        )
    if export.why:
        parts.append(f"{export.why[0].upper()}{export.why[1:]}.")
    if export.refused:
        said = "; ".join(export.refused)
        parts.append(f"**It did not pass its checks and was kept as asked (`--accept`)**: {said}.")
    made = ", ".join(f"{key} {value}" for key, value in export.versions.items())
    parts.append(
        "Times have tokenizing and decoding in them and were taken by turns, a text at a time and "
        f"many together, on: {export.machine}; {made}."
    )
    return "\n\n".join(parts)


def cells(export: ExportRecord) -> list[list[str]]:
    """A table of the measurements before and after, with titles and a column per engine."""
    assert export.speed is not None, "measured when the bundle is whole"
    names = ["torch", *export.engines]
    engines = list(export.engines.values())
    speeds = [export.speed[name] for name in names]
    sizes = [export.bytes.run, *([export.bytes.bundle] * len(engines))]
    scores = [engines[0].before, *(one.after for one in engines)]
    return [
        ["", *(title_of(name) for name in names)],
        [engines[0].metric, *(_figure(score, ".4f") for score in scores)],
        ["points, 95 % interval", "", *map(_points, engines)],
        ["answers that changed", "", *map(_share, engines)],
        ["logits differ by at most", "", *(_figure(one.logits, ".2g") for one in engines)],
        ["weights and graph, MB", *(_figure(size / 1e6, ".1f") for size in sizes)],
        ["one text, ms", *(_figure(speed.latency_ms, ".1f") for speed in speeds)],
        ["texts/s", *(_figure(speed.texts_per_second, ",.0f") for speed in speeds)],
        ["tokens/s", *(_figure(speed.tokens_per_second, ",.0f") for speed in speeds)],
    ]


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _points(one: Parity) -> str:
    low, high = one.interval
    if math.isnan(one.drop) or math.isnan(low):
        return "–"
    return f"{signed(-one.drop)} ({signed(low / one.point)} to {signed(high / one.point)})"


def signed(points: float) -> str:
    """Points with their sign, which zero doesn't have."""
    return f"{points:+.2f}" if abs(points) >= 0.005 else "0.00"


def _share(one: Parity) -> str:
    if one.changed is None:
        return "–"
    return f"{one.changed:,} of {one.rows:,} ({one.changed / one.rows:.1%})"


def _usage(name: str, example: str, architecture: str, inputs: Sequence[str]) -> str:
    """How to open the bundle with onelayer and with other tools, all without torch."""
    *names, last = (f"`{name}`" for name in inputs)
    given = f"{', '.join(names)} and {last}"
    form = family_with_class(architecture).classes[architecture].form
    return f"""## Use

With onelayer, which needs no torch for it (`pip install 'onelayer[serve]'`):

```
onelayer predict path/to/{name} FILE
onelayer serve path/to/{name}
```

```python
import onelayer

model = onelayer.load("path/to/{name}")
model.predict({example})
```

`onnx/model.onnx` takes {given}, padded as usual, and
gives what transformers' `{architecture}` gives: plain logits, without what onelayer decodes from
them. ONNX Runtime, OpenVINO (in fp32: `INFERENCE_PRECISION_HINT=f32`) and text-embeddings-inference
open it as it is; so does optimum (`ORTModelFor{form}`). `onnx/model.safetensors` has the weights
and stays in the same folder."""
