// What native_allocations.cpp and native_threads.cpp ask a model: texts of 1 to 400 words, in two
// scripts.
#pragma once
#include "../../csrc/include/onelayer.h"
#include <string>
#include <vector>

struct Inputs {
    std::vector<std::string> texts;
    std::vector<onelayer_text> offered; // the options of every choice
    std::vector<onelayer_input> rows;

    // For a model that reads `kind`: classify (any single text), pair, answer or choose.
    explicit Inputs(const std::string &kind)
    {
        for (size_t n = 1; n <= 400; n = n * 3 / 2 + 1) {
            std::string &text = texts.emplace_back();
            for (size_t i = 0; i < n; i++)
                text += i % 7 ? "settlers of New York, " : "我们在北京 ";
        }
        const auto at = [&](size_t i) { return onelayer_text{texts[i].data(), texts[i].size()}; };
        offered = {at(0), at(1), at(2)};
        rows.resize(texts.size());
        for (size_t i = 0; i < texts.size(); i++) {
            rows[i].text = rows[i].id = at(i);
            if (kind == "pair")
                rows[i].pair = at(texts.size() - 1 - i);
            if (kind == "answer" || kind == "choose")
                rows[i].question = at(2);
            if (kind == "choose")
                rows[i].options = offered.data(), rows[i].n_options = offered.size();
        }
    }
    Inputs(const Inputs &) = delete;
    Inputs &operator=(const Inputs &) = delete;
};
