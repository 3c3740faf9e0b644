// Models with their options, and what they say of themselves.
#include "model.h"
#include "../base/error.h"
#include "../base/json_copy.h"
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace onelayer {

namespace {

constexpr int most_asked_threads = 1024;

// The processors that this process may use.
int processors()
{
#if defined(__linux__)
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set))
        return CPU_COUNT(&set);
#endif
    const unsigned found = std::thread::hardware_concurrency();
    return found ? static_cast<int>(found) : 1;
}

const char *name_of(onelayer_task kind)
{
    switch (kind) {
    case ONELAYER_CLASSIFY: return "classify";
    case ONELAYER_REGRESS: return "regress";
    case ONELAYER_TAG: return "tag";
    case ONELAYER_ANSWER: return "answer";
    case ONELAYER_CHOOSE: return "choose";
    }
    return "";
}

} // namespace

std::unique_ptr<onelayer_results> SpareResults::take()
{
    {
        const std::lock_guard<Mutex> lock(mutex_);
        if (!spare_.empty()) {
            auto found = std::move(spare_.back());
            spare_.pop_back();
            return found;
        }
    }
    return std::make_unique<onelayer_results>();
}

void SpareResults::keep(std::unique_ptr<onelayer_results> results)
{
    if (results->rows.size() > most_rows)
        return;
    const std::lock_guard<Mutex> lock(mutex_);
    if (spare_.size() < most)
        spare_.push_back(std::move(results));
}

std::shared_ptr<const Opened> opened(std::shared_ptr<const Bundle> bundle,
                                     std::shared_ptr<SpareResults> spare,
                                     const onelayer_options *options)
{
    const onelayer_options none = {};
    const onelayer_options &asked = options ? *options : none;
    if (!(asked.coverage >= 0 && asked.coverage < 1))
        throw InputError("coverage must be above 0 and below 1, or 0 for none");
    if (!(asked.abstain >= 0 && asked.abstain < 1))
        throw InputError("abstain must be above 0 and below 1, or 0 for none");
    if (asked.threads < 0 || asked.threads > most_asked_threads)
        throw InputError("threads must be from 1 to 1024, or 0 for one a processor");
    auto found = std::make_shared<Opened>();
    found->bundle = std::move(bundle);
    found->spare = std::move(spare);
    if (asked.coverage > 0 || asked.abstain > 0)
        found->promising = found->bundle->task->with_guarantees(asked.coverage, asked.abstain);
    found->threads = asked.threads ? asked.threads : processors();
    found->pairs = found->bundle->layout->at("columns").find("pair") != nullptr;
    return found;
}

std::string description(const Opened &opened)
{
    const Task &task = opened.task();
    JsonWriter out;
    out.begin_object();
    out.key("task").value(name_of(task.kind()));
    out.key("labels").begin_array();
    for (const std::string &label : task.labels())
        out.value(std::string_view(label));
    out.end_array();
    out.key("multi_label").value(task.multi_label());
    out.key("max_length").value(task.max_length());
    if (const Family *const family = opened.bundle->config.family) // unknown of a model of parts
        out.key("family").value(family->model_type);
    out.key("instructions").value(opened.bundle->engine->instructions());
    out.key("threads").value(int64_t{opened.threads});
    out.key("version").value(ONELAYER_VERSION);
    out.key("layout");
    write_json(*opened.bundle->layout, out);
    out.end_object();
    return out.take();
}

} // namespace onelayer
