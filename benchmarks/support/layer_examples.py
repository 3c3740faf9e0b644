"""What `layer_figures` draws: an example of each task in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sequence of tokens, and what the new layer makes of the vectors that it reads."""

    text: str
    """The tokens, with spaces between them."""
    outputs: Mapping[int, str]
    """By the position of each vector that is read; empty where its numbers lose."""

    @property
    def tokens(self) -> list[str]:
        return self.text.split()


@dataclass(frozen=True, slots=True)
class Words:
    """What a language calls the parts of a picture."""

    encoder: str
    layer: str
    pooler: str
    read: str
    other: str
    second: str


@dataclass(frozen=True, slots=True)
class LayerFigure:
    """A picture: the sequences of one row, and what it says."""

    file: str
    title: str
    words: Words
    sequences: Sequence[Sentence]
    pooled: bool
    """Whether the vector passes the pooler first."""


ENGLISH = Words(
    encoder="BERT: pretrained, all of it is fine-tuned",
    layer="one new layer",
    pooler="pooler",
    read="vectors that the layer reads",
    other="vectors that it doesn't read",
    second="second text, segment B",
)
CHINESE = Words(
    encoder="BERT：预训练好的，全部参与微调",
    layer="一个新的全连接层",
    pooler="pooler",
    read="这一层读的向量",
    other="不读的向量",
    second="第二段文本（segment B）",
)

FIGURES = (
    LayerFigure(
        "reads_text",
        "classify a text: the layer reads [CLS]",
        ENGLISH,
        [Sentence("[CLS] is a deposit needed ? [SEP]", {0: "room"})],
        pooled=True,
    ),
    LayerFigure(
        "reads_text_zh",
        "单个文本分类：读 [CLS]",
        CHINESE,
        [Sentence("[CLS] 押 金 怎 么 退 ？ [SEP]", {0: "场地"})],
        pooled=True,
    ),
    LayerFigure(
        "reads_pair",
        "classify a pair: one sequence of both texts, the layer reads [CLS]",
        ENGLISH,
        [Sentence("[CLS] two girls sing [SEP] nobody sings [SEP]", {0: "contradiction"})],
        pooled=True,
    ),
    LayerFigure(
        "reads_pair_zh",
        "文本对分类：两段文本连成一个序列，读 [CLS]",
        CHINESE,
        [Sentence("[CLS] 两 人 在 唱 歌 [SEP] 没 人 唱 [SEP]", {0: "矛盾"})],
        pooled=True,
    ),
    LayerFigure(
        "reads_tag",
        "tag words: the layer reads the first subword of each word",
        ENGLISH,
        [
            Sentence(
                "[CLS] ada flew to rey ##kja ##vik [SEP]",
                {1: "B-PER", 2: "O", 3: "O", 4: "B-LOC"},
            )
        ],
        pooled=False,
    ),
    LayerFigure(
        "reads_tag_zh",
        "序列标注：读每个词的第一个 token，不读特殊 token",
        CHINESE,
        [
            Sentence(
                "[CLS] 她 住 在 北 京 [SEP]",
                {1: "O", 2: "O", 3: "O", 4: "B-LOC", 5: "I-LOC"},
            )
        ],
        pooled=False,
    ),
    LayerFigure(
        "reads_answer",
        "answer questions: the layer reads every token of the passage, and [CLS] for “not here”",
        ENGLISH,
        [
            Sentence(
                "[CLS] where is it ? [SEP] it is in new ulm [SEP]",
                {0: "not here?", 6: "", 7: "", 8: "", 9: "start", 10: "end"},
            )
        ],
        pooled=False,
    ),
    LayerFigure(
        "reads_answer_zh",
        "阅读理解：读段落的每个 token，另读 [CLS] 判断“没有答案”",
        CHINESE,
        [
            Sentence(
                "[CLS] 在 哪 ？ [SEP] 展 览 在 北 京 [SEP]",
                {0: "没有？", 5: "", 6: "", 7: "", 8: "开始", 9: "结束"},
            )
        ],
        pooled=False,
    ),
    LayerFigure(
        "reads_choose",
        "choose an option: a sequence for each option, the layer reads each [CLS]",
        ENGLISH,
        [
            Sentence("[CLS] it rains [SEP] take boots [SEP]", {0: "2.1"}),
            Sentence("[CLS] it rains [SEP] take cake [SEP]", {0: "-0.4"}),
        ],
        pooled=True,
    ),
    LayerFigure(
        "reads_choose_zh",
        "多项选择：每个选项一个序列，读各自的 [CLS]",
        CHINESE,
        [
            Sentence("[CLS] 下 雨 [SEP] 带 伞 [SEP]", {0: "2.1"}),
            Sentence("[CLS] 下 雨 [SEP] 带 糖 [SEP]", {0: "-0.4"}),
        ],
        pooled=True,
    ),
)
