/* Prints what a bundle answers: for each text a line of JSON, and a line of the bits of its logits.
 *
 *     answers BUNDLE TEXT...
 */
#include "onelayer.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int failed(void)
{
    fprintf(stderr, "%s\n", onelayer_error());
    return 1;
}

int main(int count, char **words)
{
    onelayer_model *model = onelayer_open(words[1], NULL);
    if (!model)
        return failed();
    for (int i = 2; i < count; i++) {
        onelayer_input input = {.text = onelayer_text_of(words[i])};
        onelayer_results *results = onelayer_predict(model, &input, 1);
        if (!results)
            return failed();
        const onelayer_prediction *found = onelayer_prediction_at(results, 0);
        puts(onelayer_json(results, 0));
        for (size_t j = 0; j < found->n_reads * found->n_outputs; j++) {
            uint32_t bits;
            memcpy(&bits, found->logits + j, sizeof bits);
            printf("%08x ", (unsigned)bits);
        }
        puts("");
        onelayer_free(results);
    }
    onelayer_close(model);
    return 0;
}
