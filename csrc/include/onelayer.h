/* libonelayer: from text to labels, numbers, entities and answers, with a fine-tuned BERT.
 *
 *     onelayer_model *model = onelayer_open("runs/reviews-int8", NULL);
 *     onelayer_input input = {.text = onelayer_text_of("a fine film")};
 *     onelayer_results *results = onelayer_predict(model, &input, 1);
 *     const onelayer_prediction *found = onelayer_prediction_at(results, 0);
 *
 * A function that fails returns NULL or a status, and onelayer_error() says why in one line, for the
 * thread that called. A model may be used by any number of threads at once. Texts are UTF-8; what is
 * no UTF-8 is read as U+FFFD, one for each part that Unicode's chapter 3.9 calls maximal. They need
 * not end with a zero byte.
 *
 * Everything here keeps its meaning within a major version. New fields are appended to structs that
 * the library fills; those that the caller fills must be zeroed first.
 */
#ifndef ONELAYER_H
#define ONELAYER_H

#include <stddef.h>
#include <stdint.h>

#define ONELAYER_VERSION "0.1.0"

#if defined(_WIN32)
#define ONELAYER_API __declspec(dllexport)
#else
#define ONELAYER_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct onelayer_model onelayer_model;
typedef struct onelayer_results onelayer_results;

typedef enum {
    ONELAYER_OK = 0,
    ONELAYER_BAD_BUNDLE = 1, /* files that are missing, damaged, or not as export wrote them */
    ONELAYER_BAD_INPUT = 2,  /* an input that the task can't use, or an argument out of range */
    ONELAYER_NO_MEMORY = 3,
    ONELAYER_FAILED = 4, /* anything else: a bug */
} onelayer_status;

typedef enum {
    ONELAYER_CLASSIFY = 1,
    ONELAYER_REGRESS = 2,
    ONELAYER_TAG = 3,
    ONELAYER_ANSWER = 4,
    ONELAYER_CHOOSE = 5,
} onelayer_task;

/* UTF-8 bytes; `data` may be NULL where `size` is 0. */
typedef struct {
    const char *data;
    size_t size;
} onelayer_text;

/* A part of a text, in three units: bytes of UTF-8, code points as Python counts, and units of
 * UTF-16 as Java and JavaScript count. Ends are exclusive. */
typedef struct {
    size_t byte_begin, byte_end;
    size_t point_begin, point_end;
    size_t utf16_begin, utf16_end;
} onelayer_span;

typedef struct {
    size_t begin, end;
} onelayer_bytes;

/* One row. Which texts it has depends on the task:
 *     classify, regress   text, and pair if the model was trained on pairs
 *     tag                 text, and its words if they are known
 *     answer              text is the passage, question the question
 *     choose              text is the context, question is optional, options are two or more */
typedef struct {
    onelayer_text text, pair, question;
    const onelayer_text *options;
    size_t n_options;
    const onelayer_bytes *words; /* bytes of `text`; NULL: it is split as the training file was */
    size_t n_words;
    onelayer_text id; /* of a question, in JSON; if empty, the row's number in the call, from 1 */
} onelayer_input;

/* How a model is opened. All zero: as it was exported, on all processors. */
typedef struct {
    double coverage; /* if above 0: label sets that hold the right label with this chance */
    double abstain;  /* if above 0: doubtful rows get no label, so that about this share is wrong */
    int threads;     /* the most that compute; 0: one for each processor */
} onelayer_options;

/* A token of a text. The marks that stand for white space have no characters of their own. */
typedef struct {
    onelayer_span span;
    int32_t id;
} onelayer_piece;

typedef struct {
    onelayer_span span;
    int32_t label; /* index of the word's tag in the model's labels */
} onelayer_word;

typedef struct {
    onelayer_span span;
    onelayer_text type;
    double score; /* mean probability of its words' tags */
} onelayer_entity;

typedef struct {
    onelayer_span span;
    double score; /* probability among the candidates and "no answer" */
} onelayer_candidate;

typedef struct {
    onelayer_task task;
    /* classify: the likeliest label, or -1 where the model abstains, or with several labels.
     * choose: the chosen option. */
    int32_t label;
    double probability;          /* of the likeliest label */
    const double *probabilities; /* by label, or by option */
    size_t n_probabilities;
    const int32_t *labels; /* with several labels: those that reach their thresholds */
    size_t n_labels;
    const int32_t *label_set; /* likeliest first; NULL without `coverage` */
    size_t n_label_set;
    double value; /* regress */
    const onelayer_word *words; /* tag */
    size_t n_words;
    const onelayer_entity *entities;
    size_t n_entities;
    const onelayer_candidate *candidates; /* answer: likeliest first */
    size_t n_candidates;
    int answered;       /* whether the first candidate is the answer; else there is none */
    double no_answer;   /* probability of "no answer" */
    double margin;      /* of "no answer" above the best candidate, in logits; may be infinite */
    size_t unread;      /* tokens that the length limit left out */
    const float *logits; /* (n_reads, n_outputs) */
    size_t n_reads, n_outputs;
    size_t text_tokens; /* of its texts, before the length limit and without special tokens */
    size_t tokens;      /* that the model read: those of its windows or options together */
} onelayer_prediction;

/* The version of the library, such as "0.9.0". */
ONELAYER_API const char *onelayer_version(void);

/* Why the last call of this thread failed, in one line; empty after a success. Valid until this
 * thread's next call. */
ONELAYER_API const char *onelayer_error(void);
ONELAYER_API onelayer_status onelayer_last_status(void);

/* Opens a bundle: the directory that `onelayer export --int8` writes, or a single file. */
ONELAYER_API onelayer_model *onelayer_open(const char *path, const onelayer_options *options);

/* Opens a single file's bytes, which are copied. */
ONELAYER_API onelayer_model *onelayer_open_memory(const void *data, size_t size,
                                                  const onelayer_options *options);

/* The same model with other options. The weights are shared. */
ONELAYER_API onelayer_model *onelayer_with(const onelayer_model *model,
                                           const onelayer_options *options);
ONELAYER_API void onelayer_close(onelayer_model *model); /* NULL is allowed */

/* What the model is, as a JSON object: task, labels, multi_label (whether a row can have several),
 * max_length, family, instruction set. Valid until the model is closed. */
ONELAYER_API const char *onelayer_describe(const onelayer_model *model);
ONELAYER_API size_t onelayer_n_labels(const onelayer_model *model);
ONELAYER_API onelayer_text onelayer_label(const onelayer_model *model, size_t index);

/* Predicts for n inputs, whose texts must live until the results are freed. */
ONELAYER_API onelayer_results *onelayer_predict(const onelayer_model *model,
                                                const onelayer_input *inputs, size_t n);
ONELAYER_API size_t onelayer_count(const onelayer_results *results);
/* The prediction for an input; NULL from onelayer_count on. Those of a call stand side by side in
 * memory, as an array. */
ONELAYER_API const onelayer_prediction *onelayer_prediction_at(const onelayer_results *results,
                                                               size_t index);
/* A prediction as `onelayer predict` writes it in JSON, with offsets in code points. Valid until the
 * results are freed. */
ONELAYER_API const char *onelayer_json(onelayer_results *results, size_t index);
ONELAYER_API void onelayer_free(onelayer_results *results); /* NULL is allowed */

/* The tokens of a text, without special tokens, as the model's tokenizer cuts it. `n` becomes their
 * number, 0 on failure. Valid until this thread's next call. */
ONELAYER_API const onelayer_piece *onelayer_tokenize(const onelayer_model *model,
                                                     onelayer_text text, size_t *n);

static inline onelayer_text onelayer_text_of(const char *zero_terminated)
{
    size_t size = 0;
    while (zero_terminated && zero_terminated[size])
        size++;
    onelayer_text text = {zero_terminated, size};
    return text;
}

#ifdef __cplusplus
}
#endif
#endif
