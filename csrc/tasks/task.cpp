#include "task.h"
#include "../base/error.h"
#include "task_kinds.h"

namespace onelayer {

std::unique_ptr<Task> Task::read(const Json &task)
{
    const std::string &name = task.at("name").string();
    if (name == "classify")
        return read_classify(task);
    if (name == "regress")
        return read_regress(task);
    if (name == "tag")
        return read_tag(task);
    if (name == "answer")
        return read_answer(task);
    if (name == "choose")
        return read_choose(task);
    throw BundleError("an unknown task: '" + name + "'");
}

void refuse_promises(const char *task, double coverage, double abstain)
{
    if (coverage != 0 || abstain != 0)
        throw InputError(std::string("coverage and abstain are for classify, and this model is "
                                     "for ") +
                         task);
}

} // namespace onelayer
