// Models made of parts, for onelayer's Python package, which has read a bundle's files by itself. It
// isn't part of onelayer.h, and changes from version to version.
#pragma once
#include "../engine/engine_interface.h"
#include "../include/onelayer.h"

extern "C" {

typedef struct onelayer_row_tokenizer onelayer_row_tokenizer;

// A tokenizer of the texts of tokenizer.json and tokenizer_config.json, for an embedding table of
// `vocabulary` rows, of a model with or without segments. NULL on failure: see onelayer_error().
ONELAYER_API onelayer_row_tokenizer *onelayer_row_tokenizer_open(onelayer_text tokenizer,
                                                                 onelayer_text config,
                                                                 size_t vocabulary, int segments);
ONELAYER_API void onelayer_row_tokenizer_close(onelayer_row_tokenizer *tokenizer);

// A model of an engine, a tokenizer, and the members "task" and "layout" of onelayer.json. The parts
// may be closed before the model is. NULL on failure: see onelayer_error().
ONELAYER_API onelayer_model *onelayer_model_of(const onelayer_engine *engine,
                                               const onelayer_row_tokenizer *tokenizer,
                                               onelayer_text task, onelayer_text layout,
                                               int threads);
}
