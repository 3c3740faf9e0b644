"""Draws for each task which token vectors the new layer reads, in English and in Chinese.

python -m benchmarks.support.layer_figures docs/images
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from benchmarks.support.layer_examples import FIGURES, LayerFigure, Sentence

TOKEN, GAP, MARGIN = 58, 6, 14
"""Pixels: the width of a token, the space between two, and around the picture."""
APART = 38
"""Pixels between two sequences."""
OUTPUT_Y, LAYER_Y, VECTOR_Y, BERT_Y, TOKEN_Y, LEGEND_Y = 22, 36, 122, 160, 226, 292
"""The rows of the picture, from top to bottom."""
LAYER_HEIGHT, BERT_HEIGHT, TOKEN_HEIGHT, DOT = 30, 46, 30, 8
NARROWEST_LAYER = 136
NARROWEST = 640
"""Pixels of a picture: the legend's."""

STYLE = """
text { font: 13px Helvetica, Arial, "Noto Sans", "PingFang SC", "Microsoft YaHei",
  "Noto Sans CJK SC", sans-serif; text-anchor: middle; fill: #1f2328 }
.small { font-size: 12px; fill: #57606a }
.left { text-anchor: start }
.output { font-weight: bold; fill: #3f51b5 }
.token { fill: #eef0f4; stroke: #b0b4c0 }
.second { fill: #f6e9df; stroke: #c9a88f }
.bert { fill: #dfe3ee; stroke: #b0b4c0 }
.other { fill: none; stroke: #8a8f9c; stroke-dasharray: 3 2 }
.read { fill: #3f51b5; stroke: #3f51b5 }
.layer { fill: none; stroke: #3f51b5; stroke-width: 2 }
.line { stroke: #3f51b5; stroke-width: 1.5 }
.faint { stroke: #b0b4c0 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .output { fill: #a9b6ff }
  .token { fill: #21262d; stroke: #57606a }
  .second { fill: #3a2e26; stroke: #7d6553 }
  .bert { fill: #2d333b; stroke: #57606a }
  .other { stroke: #9198a1 }
  .faint { stroke: #6e7681 }
  .read { fill: #8c9eff; stroke: #8c9eff }
  .layer, .line { stroke: #8c9eff }
}
"""


def main() -> None:
    folder = Path(sys.argv[1])
    for figure in FIGURES:
        path = folder / f"{figure.file}.svg"
        path.write_text(drawn(figure), encoding="utf-8", newline="\n")
        print(path)


def drawn(figure: LayerFigure) -> str:
    """The picture as SVG."""
    shapes, lefts, left = [], [], MARGIN
    for sentence in figure.sequences:
        shapes += sequence(sentence, left)
        lefts.append(left)
        left += width_of(sentence) + APART
    end = left - APART
    width = max(end + MARGIN, NARROWEST)
    bert = box("bert", MARGIN, BERT_Y, end - MARGIN, BERT_HEIGHT)
    name = text((MARGIN + end) / 2, BERT_Y + BERT_HEIGHT / 2 + 5, figure.words.encoder)
    shapes = [bert, *shapes, name]
    shapes += new_layer(figure, lefts)
    shapes += legend(figure)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {LEGEND_Y + 14}" '
            f'width="{width}" height="{LEGEND_Y + 14}" role="img">',
            f"<title>{escape(figure.title)}</title>",
            f"<style>{STYLE}</style>",
            *shapes,
            "</svg>\n",
        ]
    )


def width_of(sentence: Sentence) -> int:
    return len(sentence.tokens) * (TOKEN + GAP) - GAP


def middle(left: int, position: int) -> float:
    """The middle of a token in a sequence that begins at ``left``."""
    return left + position * (TOKEN + GAP) + TOKEN / 2


def sequence(sentence: Sentence, left: int) -> list[str]:
    """The tokens of a sequence, and their vectors. Those of a second text have another colour."""
    shapes, second = [], False
    for i, token in enumerate(sentence.tokens):
        x = middle(left, i)
        kind = "second" if second else "token"
        shapes += [
            line("faint", x, TOKEN_Y, x, BERT_Y + BERT_HEIGHT),
            line("faint", x, BERT_Y, x, VECTOR_Y + DOT),
            box(kind, x - TOKEN / 2, TOKEN_Y, TOKEN, TOKEN_HEIGHT),
            text(x, TOKEN_Y + TOKEN_HEIGHT / 2 + 5, token),
            dot("read" if i in sentence.outputs else "other", x),
        ]
        second = second or token == "[SEP]"
    return shapes


def new_layer(figure: LayerFigure, lefts: list[int]) -> list[str]:
    """The layer, above all vectors that it reads, with its outputs."""
    reads = [
        (middle(left, position), output)
        for left, sentence in zip(lefts, figure.sequences, strict=True)
        for position, output in sentence.outputs.items()
    ]
    xs = [x for x, _ in reads]
    begin = min(xs) - TOKEN / 2
    width = max(max(xs) + TOKEN / 2 - begin, NARROWEST_LAYER)
    bottom = LAYER_Y + LAYER_HEIGHT
    shapes = [
        box("layer", begin, LAYER_Y, width, LAYER_HEIGHT),
        text(begin + width / 2, LAYER_Y + LAYER_HEIGHT / 2 + 5, figure.words.layer),
    ]
    for x, output in reads:
        shapes.append(line("line", x, VECTOR_Y - DOT, x, bottom))
        if figure.pooled:
            y = (VECTOR_Y - DOT + bottom) / 2
            shapes += [
                box("bert", x - TOKEN / 2, y - 11, TOKEN, 22),
                text(x, y + 4, figure.words.pooler, "small"),
            ]
        if output and len(reads) == 1:
            shapes.append(text(begin + width / 2, OUTPUT_Y, output, "output"))
        elif output:
            shapes.append(text(x, OUTPUT_Y, output, "output"))
    return shapes


def legend(figure: LayerFigure) -> list[str]:
    words, x = figure.words, MARGIN
    shapes = []
    for kind, said in (("read", words.read), ("other", words.other), ("second", words.second)):
        if kind == "second":
            if all(sentence.tokens.count("[SEP]") < 2 for sentence in figure.sequences):
                continue
            shapes.append(box("second", x, LEGEND_Y - 10, 14, 12))
        else:
            shapes.append(dot(kind, x + DOT, LEGEND_Y - 4))
        shapes.append(text(x + 22, LEGEND_Y, said, "small left"))
        x += 44 + sum(12 if letter > "\u2e80" else 6 for letter in said)
    return shapes


def box(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    )


def dot(kind: str, x: float, y: float = VECTOR_Y) -> str:
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{DOT if y == VECTOR_Y else 6}"/>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:g}" y="{y:g}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
