/* Predicts for texts with a bundle, in C.
 *
 *     cc predict.c $(pkg-config --cflags --libs onelayer) -o predict
 *     ./predict runs/reviews-int8 "a fine film" "a dull film"
 */
#include <onelayer.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: predict BUNDLE TEXT...\n");
        return 2;
    }
    onelayer_model *model = onelayer_open(argv[1], NULL);
    if (!model) {
        fprintf(stderr, "%s\n", onelayer_error());
        return 1;
    }
    const size_t n = (size_t)argc - 2;
    onelayer_input *inputs = calloc(n, sizeof *inputs); /* unused fields must be zero */
    for (size_t i = 0; i < n; i++)
        inputs[i].text = onelayer_text_of(argv[i + 2]);
    onelayer_results *results = onelayer_predict(model, inputs, n);
    if (!results)
        fprintf(stderr, "%s\n", onelayer_error());
    for (size_t i = 0; i < onelayer_count(results); i++) {
        const onelayer_prediction *found = onelayer_prediction_at(results, i);
        if (found->label >= 0) {
            const onelayer_text label = onelayer_label(model, (size_t)found->label);
            printf("%.*s %.4f\n", (int)label.size, label.data, found->probability);
        }
        for (size_t j = 0; j < found->n_entities; j++) {
            const onelayer_entity *entity = &found->entities[j];
            const onelayer_span span = entity->span; /* C counts in bytes */
            printf("%zu-%zu %.*s %.*s\n", span.byte_begin, span.byte_end, (int)entity->type.size,
                   entity->type.data, (int)(span.byte_end - span.byte_begin),
                   argv[i + 2] + span.byte_begin);
        }
    }
    const int failed = !results;
    onelayer_free(results);
    free(inputs);
    onelayer_close(model);
    return failed;
}
