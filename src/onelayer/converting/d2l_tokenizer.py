"""The tokenizer of the book's models: the ids that the book gives a text.

The book lowers a text's case, splits it at white space and looks its words up. Its texts, and the
parse trees of SNLI that it reads, have spaces around punctuation; other texts have not. So a word
that isn't in the vocabulary may end in punctuation, or in ``'s`` and the like, that is in it: such
endings are tokens of their own, with the vectors of the words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import AddedToken
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from onelayer.base.disk import write_json, write_text
from onelayer.base.errors import CheckpointError

NAMES = {
    "<cls>": "[CLS]",
    "<sep>": "[SEP]",
    "<unk>": "[UNK]",
    "<pad>": "[PAD]",
    "<mask>": "[MASK]",
}
"""What the special tokens are called here. Text in lower case never has such a word, so a user's
``<sep>`` is an unknown word."""
LONGEST_WORD = 1000
"""Characters of a word, at most, as for any tokenizer that is read."""

_ENDING = re.compile(r"['’]\w{1,2}|n['’]t")


@dataclass(frozen=True, slots=True)
class BookTokenizer:
    """The tokenizer of a vocabulary of the book."""

    backend: tokenizers.Tokenizer
    specials: Mapping[str, int]
    """The ids of the special tokens, by the book's names."""
    endings: tuple[int, ...]
    """The words that may also end other words, by id. As endings they have the ids that follow the
    vocabulary's, in this order."""

    def write(self, folder: Path, *, max_length: int) -> None:
        """Writes the tokenizer's files; transformers cuts texts to ``max_length`` tokens."""
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True) + "\n")
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{f"{token[1:-1]}_token": NAMES[token] for token in self.specials},
            "model_max_length": max_length,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }
        write_json(folder / "tokenizer_config.json", settings)


def book_tokenizer(words: Sequence[str]) -> BookTokenizer:
    """The tokenizer for a vocabulary of the book. Raises CheckpointError for a vocabulary with one
    of the names of `NAMES`."""
    named = [NAMES.get(word, word) for word in words]
    if len(set(named)) < len(named):
        raise CheckpointError(f"a vocabulary with one of {', '.join(NAMES.values())}")
    mark = "##"
    while any(word.startswith(mark) and word != mark for word in words):
        mark += "#"
    endings = tuple(i for i, word in enumerate(words) if word not in NAMES and _may_end(word))
    tokens = [*named, *(mark + words[i] for i in endings)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    longest = min(LONGEST_WORD, max(100, *map(len, words)))
    model = WordPiece(
        vocabulary,
        unk_token=NAMES["<unk>"],
        continuing_subword_prefix=mark,
        max_input_chars_per_word=longest,
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = WhitespaceSplit()
    backend.decoder = WordPieceDecoder(prefix=mark)
    specials = {token: words.index(token) for token in NAMES if token in words}
    backend.add_special_tokens([AddedToken(NAMES[token], special=True) for token in specials])
    ends = [(NAMES[token], specials[token]) for token in ("<cls>", "<sep>")]
    (cls, _), (sep, _) = ends
    backend.post_processor = TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=ends,
    )
    return BookTokenizer(backend, specials, endings)


def _may_end(word: str) -> bool:
    """Whether a word is punctuation, or an ending after an apostrophe."""
    marks = all(unicodedata.category(character)[0] in "PS" for character in word)
    return bool(word) and (marks or bool(_ENDING.fullmatch(word)))
