// The five tasks, each in a file of its own.
#pragma once
#include "task.h"

namespace onelayer {

std::unique_ptr<Task> read_classify(const Json &values);
std::unique_ptr<Task> read_regress(const Json &values);
std::unique_ptr<Task> read_tag(const Json &values);
std::unique_ptr<Task> read_answer(const Json &values);
std::unique_ptr<Task> read_choose(const Json &values);

// What a task without promises says to those who ask for one: throws InputError.
void refuse_promises(const char *task, double coverage, double abstain);

} // namespace onelayer
