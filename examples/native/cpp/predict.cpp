// Predicts for texts with a bundle, in C++.
//
//     c++ -std=c++17 predict.cpp $(pkg-config --cflags --libs onelayer) -o predict
//     ./predict runs/reviews-int8 "a fine film" "a dull film"
#include <cstdio>
#include <onelayer.hpp>

int main(int argc, char **argv)
try {
    if (argc < 3) {
        std::fprintf(stderr, "usage: predict BUNDLE TEXT...\n");
        return 2;
    }
    const onelayer::Model model(argv[1]);
    const std::vector<onelayer::Input> texts(argv + 2, argv + argc);
    const auto results = model.predict(texts);
    for (size_t i = 0; i < results.size(); i++) {
        const auto found = results[i];
        if (found->label >= 0)
            std::printf("%s %.4f\n", std::string(found.label()).c_str(), found->probability);
        for (const auto &[span, type, score] : found.entities())
            std::printf("%zu-%zu %s %s\n", span.byte_begin, span.byte_end,
                        std::string(onelayer::view(type)).c_str(),
                        std::string(onelayer::part(texts[i].text, span)).c_str());
    }
} catch (const onelayer::Failure &failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
}
