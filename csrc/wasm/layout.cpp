// The places of the fields that js/onelayer.js reads and writes. Where a struct changes, this file
// doesn't compile until they are changed there, too.
#include "../include/onelayer.h"

#define PLACE(type, field, place)                                                                  \
    static_assert(offsetof(type, field) == place, "js/onelayer.js has another place of " #field)
#define SIZE(type, size)                                                                           \
    static_assert(sizeof(type) == size, "js/onelayer.js has another size of " #type)

PLACE(onelayer_options, coverage, 0);
PLACE(onelayer_options, abstain, 8);
PLACE(onelayer_options, threads, 16);
SIZE(onelayer_options, 24);
PLACE(onelayer_input, text, 0);
PLACE(onelayer_input, pair, 8);
PLACE(onelayer_input, question, 16);
PLACE(onelayer_input, options, 24);
PLACE(onelayer_input, n_options, 28);
PLACE(onelayer_input, words, 32);
PLACE(onelayer_input, n_words, 36);
PLACE(onelayer_input, id, 40);
SIZE(onelayer_input, 48);
PLACE(onelayer_span, utf16_begin, 16);
PLACE(onelayer_span, utf16_end, 20);
SIZE(onelayer_span, 24);
PLACE(onelayer_word, label, 24);
SIZE(onelayer_word, 28);
PLACE(onelayer_entity, type, 24);
PLACE(onelayer_entity, score, 32);
SIZE(onelayer_entity, 40);
PLACE(onelayer_candidate, score, 24);
SIZE(onelayer_candidate, 32);
PLACE(onelayer_prediction, task, 0);
PLACE(onelayer_prediction, label, 4);
PLACE(onelayer_prediction, probability, 8);
PLACE(onelayer_prediction, probabilities, 16);
PLACE(onelayer_prediction, n_probabilities, 20);
PLACE(onelayer_prediction, labels, 24);
PLACE(onelayer_prediction, n_labels, 28);
PLACE(onelayer_prediction, label_set, 32);
PLACE(onelayer_prediction, n_label_set, 36);
PLACE(onelayer_prediction, value, 40);
PLACE(onelayer_prediction, words, 48);
PLACE(onelayer_prediction, n_words, 52);
PLACE(onelayer_prediction, entities, 56);
PLACE(onelayer_prediction, n_entities, 60);
PLACE(onelayer_prediction, candidates, 64);
PLACE(onelayer_prediction, n_candidates, 68);
PLACE(onelayer_prediction, answered, 72);
PLACE(onelayer_prediction, no_answer, 80);
PLACE(onelayer_prediction, margin, 88);
PLACE(onelayer_prediction, unread, 96);
