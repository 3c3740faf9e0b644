"""RoBERTa (Liu et al., 2019) and the families with its encoder: CamemBERT (Martin et al., 2020)
and XLM-RoBERTa (Conneau et al., 2020).

The first position has the number after that of the padding token. There is one segment vector, for
all tokens. Texts are sorted through a dense layer of the head's own; only choosing reads the
encoder's pooler, which was never pretrained.
"""

from __future__ import annotations

from onelayer.checkpoint.families.bert import (
    BERTS_BUFFERS,
    BERTS_MODULES,
    ENCODERS_ONLY,
    TENSORFLOWS_ENDINGS,
)
from onelayer.checkpoint.family import Family, ModelClass
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.tokens.tokenizer_files import BYTE_BPE, CAMEMBERT_UNIGRAM, XLMR_UNIGRAM, TokenizerKind


def _roberta(model_type: str, title: str, start: str, tokenizer: TokenizerKind) -> Family:
    """A family whose classes' names have this start."""
    return Family(
        model_type=model_type,
        title=title,
        prefix="roberta.",
        modules=BERTS_MODULES,
        classes={
            f"{start}Model": ModelClass(pooler="pooler.dense", bare=True),
            f"{start}ForMaskedLM": ModelClass(),
            f"{start}ForSequenceClassification": ModelClass(
                "SequenceClassification",
                "classifier.out_proj",
                pooler="classifier.dense",
                pooler_shape=PoolerShape(dropped=True),
            ),
            f"{start}ForTokenClassification": ModelClass("TokenClassification", "classifier"),
            f"{start}ForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
            f"{start}ForMultipleChoice": ModelClass(
                "MultipleChoice", "classifier", pooler="roberta.pooler.dense", rows=1
            ),
        },
        only=ENCODERS_ONLY,
        defaults={"pad_token_id": 1},
        bricks=lambda config: Bricks(first_position=config.pad_token_id + 1),
        old_endings=TENSORFLOWS_ENDINGS,
        buffers=BERTS_BUFFERS,
        tokenizer=tokenizer,
    )


ROBERTA = _roberta("roberta", "RoBERTa", "Roberta", BYTE_BPE)
CAMEMBERT = _roberta("camembert", "CamemBERT", "Camembert", CAMEMBERT_UNIGRAM)
XLM_ROBERTA = _roberta("xlm-roberta", "XLM-RoBERTa", "XLMRoberta", XLMR_UNIGRAM)
