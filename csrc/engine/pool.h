// Threads that compute batches.
#pragma once
#include "model.h"

namespace onelayer {

// Computes the logits of a batch with at most `threads` threads, the caller's included. Any number
// of threads may call: a batch for one thread is computed by its caller at once, and one for several
// waits until the threads are free. Throws std::bad_alloc.
void run_batch(const InstructionSet &set, const Model &model, const Batch &batch, int threads);

} // namespace onelayer
