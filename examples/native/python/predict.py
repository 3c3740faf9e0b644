"""Predicts for texts with a bundle, by ctypes: a Python without any package.

python predict.py libonelayer.so runs/reviews-int8 "a fine film" "a dull film"
"""

import ctypes
import json
import sys
from ctypes import POINTER, c_char_p, c_size_t, c_void_p


class Text(ctypes.Structure):
    _fields_ = (("data", c_char_p), ("size", c_size_t))


class Input(ctypes.Structure):
    _fields_ = (
        *((name, Text) for name in ("text", "pair", "question")),
        *(("options", c_void_p), ("n_options", c_size_t)),
        *(("words", c_void_p), ("n_words", c_size_t)),
        ("id", Text),
    )


def main(library: str, bundle: str, *texts: str) -> None:
    core = ctypes.CDLL(library)
    # With their types, pointers aren't taken for numbers of 32 bits.
    core.onelayer_open.restype = core.onelayer_predict.restype = c_void_p
    core.onelayer_predict.argtypes = [c_void_p, POINTER(Input), c_size_t]
    core.onelayer_json.argtypes = [c_void_p, c_size_t]
    core.onelayer_error.restype = core.onelayer_json.restype = c_char_p
    core.onelayer_free.argtypes = core.onelayer_close.argtypes = [c_void_p]

    model = core.onelayer_open(bundle.encode(), None)
    if not model:
        sys.exit(core.onelayer_error().decode())
    utf8 = [text.encode(errors="replace") for text in texts]
    inputs = (Input * len(texts))(*(Input(text=Text(text, len(text))) for text in utf8))
    results = core.onelayer_predict(model, inputs, len(texts))
    if not results:
        sys.exit(core.onelayer_error().decode())
    for i in range(len(texts)):
        # The JSON counts in code points, as Python does.
        found = json.loads(core.onelayer_json(results, i))
        if found.get("label") is not None:
            print(f"{found['label']} {found['probability']:.4f}")
        for entity in found.get("entities", ()):
            print(f"{entity['start']}-{entity['end']} {entity['label']} {entity['text']}")
    core.onelayer_free(results)
    core.onelayer_close(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
