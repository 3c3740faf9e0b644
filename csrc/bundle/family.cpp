// The table of encoder families.
#include "family.h"
#include <cstddef>

namespace onelayer {

namespace {

constexpr Family bert = {"bert", "BERT", "Bert", "hidden_size", "num_hidden_layers",
                         "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps",
                         "gelu", 0, false, 0, 2, 0, Narrow::never, false, Activation::tanh, true};

constexpr Family like_bert(std::string_view model_type, std::string_view title,
                           std::string_view classes)
{
    Family family = bert;
    family.model_type = model_type, family.title = title, family.classes = classes;
    return family;
}

constexpr Family roberta(std::string_view model_type, std::string_view title,
                         std::string_view classes)
{
    Family family = like_bert(model_type, title, classes);
    family.padding = 1, family.after_padding = true;
    return family;
}

constexpr Family distilbert()
{
    Family family = like_bert("distilbert", "DistilBERT", "DistilBert");
    family.width = "dim", family.layers = "n_layers", family.heads = "n_heads";
    family.feed_forward = "hidden_dim", family.activation = "activation", family.eps = "";
    family.segments = 0, family.pooler = Activation::relu;
    return family;
}

constexpr Family electra()
{
    Family family = like_bert("electra", "ELECTRA", "Electra");
    family.narrow = Narrow::if_other, family.pooler = Activation::gelu;
    return family;
}

constexpr Family mpnet()
{
    Family family = like_bert("mpnet", "MPNet", "MPNet");
    family.padding = 1, family.first_position = 2, family.segments = 0, family.buckets = 32;
    return family;
}

constexpr Family albert()
{
    Family family = like_bert("albert", "ALBERT", "Albert");
    family.usual_activation = "gelu_new", family.narrow = Narrow::always, family.groups = true;
    return family;
}

constexpr Family not_computed(std::string_view model_type, std::string_view title)
{
    Family family = like_bert(model_type, title, "");
    family.computed = false;
    return family;
}

constexpr Family families[] = {
    bert,
    roberta("roberta", "RoBERTa", "Roberta"),
    roberta("xlm-roberta", "XLM-RoBERTa", "XLMRoberta"),
    roberta("camembert", "CamemBERT", "Camembert"),
    distilbert(),
    electra(),
    mpnet(),
    albert(),
    not_computed("deberta-v2", "DeBERTa-v2"),
    not_computed("modernbert", "ModernBERT"),
};

} // namespace

const OnlyValue only_values[] = {
    {"", "position_embedding_type", "\"absolute\"", "only 'absolute' is read"},
    {"", "is_decoder", "false", "onelayer reads encoders only"},
    {"", "add_cross_attention", "false", "onelayer reads encoders only"},
    {"electra", "summary_type", "\"first\"", "only 'first' is read"},
    {"electra", "summary_use_proj", "true", "only true is read"},
    {"electra", "summary_activation", "\"gelu\"", "only 'gelu' is read"},
    {"albert", "inner_group_num", "1", "only groups of one layer are read"},
    {"mpnet", "relative_attention_num_buckets", "32", "transformers computes 32 in any case"},
};
const size_t n_only_values = sizeof only_values / sizeof *only_values;

const Family *family_named(std::string_view model_type)
{
    for (const Family &family : families)
        if (family.model_type == model_type)
            return &family;
    return nullptr;
}

} // namespace onelayer
