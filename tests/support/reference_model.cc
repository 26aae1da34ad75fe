#include "tests/support/reference_model.h"

#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using Row = std::vector<double>;
using Sees = std::function<bool(int query, int key)>;

struct Reference {
  const Context& context;
  const LanguageModel& model;
  const ModelConfig& config = model.config();

  Row Flat(const std::string& name) const {
    const Parameter* p = model.parameters().Find(name);
    PHOTON_CHECK(p != nullptr) << name;
    return ToDoubles(context, p->master);
  }
  // y = W x (+ b)
  Row Linear(const std::string& name, const Row& x, bool bias = false) const {
    const Row w = Flat(name + ".weight");
    Row y = bias ? Flat(name + ".bias") : Row(w.size() / x.size(), 0.0);
    for (size_t o = 0; o < y.size(); ++o) {
      for (size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
    }
    return y;
  }
  Row Norm(const std::string& name, const Row& x) const {
    const Row w = Flat(name + ".weight");
    double square = 0;
    for (double v : x) square += v * v;
    const double r = 1 / std::sqrt(square / static_cast<double>(x.size()) + config.norm_eps());
    Row y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * r * w[i];
    return y;
  }
  Row Embed(const std::string& table, int id, int64_t width) const {
    const Row w = Flat(table);
    return Row(w.begin() + id * width, w.begin() + (id + 1) * width);
  }
  void Rotate(Row& x, int position, int dim) const {
    for (size_t head = 0; head < x.size(); head += dim) {
      for (int i = 0; i < dim / 2; ++i) {
        const double angle = position * std::pow(config.rope_theta(), -2.0 * i / dim);
        const double a = x[head + i], b = x[head + i + dim / 2];
        x[head + i] = a * std::cos(angle) - b * std::sin(angle);
        x[head + i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  Rows Attend(const Rows& q, const Rows& k, const Rows& v, const Sees& sees) const {
    const int dim = config.width() / config.heads();
    const int kv_heads = config.has_kv_heads() ? config.kv_heads() : config.heads();
    Rows out(q.size(), Row(config.width(), 0.0));
    for (size_t i = 0; i < q.size(); ++i) {
      for (int h = 0; h < config.heads(); ++h) {
        const int g = h * kv_heads / config.heads();
        Row weight;
        double total = 0;
        for (size_t j = 0; j <= i; ++j) {
          double dot = 0;
          for (int c = 0; c < dim; ++c) dot += q[i][h * dim + c] * k[j][g * dim + c];
          weight.push_back(sees(static_cast<int>(i), static_cast<int>(j)) ? std::exp(dot / std::sqrt(dim)) : 0);
          total += weight.back();
        }
        for (size_t j = 0; j <= i; ++j) {
          for (int c = 0; c < dim; ++c) out[i][h * dim + c] += weight[j] / total * v[j][g * dim + c];
        }
      }
    }
    return out;
  }

  Rows Stack(const std::string& name, int layers, Rows x, const std::vector<int>& positions, const Sees& sees) const {
    const int dim = config.width() / config.heads();
    for (int n = 0; n < layers; ++n) {
      const std::string p = absl::StrCat(name, ".layers.", n, ".");
      Rows q, k, v;
      for (size_t i = 0; i < x.size(); ++i) {
        const Row y = Norm(p + "attention_norm", x[i]);
        q.push_back(Linear(p + "attention.q_proj", y));
        k.push_back(Linear(p + "attention.k_proj", y));
        v.push_back(Linear(p + "attention.v_proj", y));
        Rotate(q.back(), positions[i], dim);
        Rotate(k.back(), positions[i], dim);
      }
      const Rows attended = Attend(q, k, v, sees);
      for (size_t i = 0; i < x.size(); ++i) {
        const Row o = Linear(p + "attention.o_proj", attended[i]);
        for (size_t c = 0; c < o.size(); ++c) x[i][c] += o[c];
        const Row y = Norm(p + "ffn_norm", x[i]);
        Row gate = Linear(p + "ffn.gate_proj", y);
        const Row up = Linear(p + "ffn.up_proj", y);
        for (size_t c = 0; c < gate.size(); ++c) gate[c] = gate[c] / (1 + std::exp(-gate[c])) * up[c];
        const Row down = Linear(p + "ffn.down_proj", gate);
        for (size_t c = 0; c < down.size(); ++c) x[i][c] += down[c];
      }
    }
    for (Row& row : x) row = Norm(name + ".norm", row);
    return x;
  }

  static std::vector<int> Counting(size_t n) {
    std::vector<int> positions(n);
    for (size_t i = 0; i < n; ++i) positions[i] = static_cast<int>(i);
    return positions;
  }
};

Row Concatenate(const Rows& rows, size_t begin, size_t count) {
  Row all;
  for (size_t i = begin; i < begin + count; ++i) all.insert(all.end(), rows[i].begin(), rows[i].end());
  return all;
}

// One local window: the last prefix vector on, C outputs. `content(j, outputs so far)` is content j.
Rows Window(const Reference& r, int l, const Row& source, const std::function<Row(int, const Rows&)>& content) {
  const LevelConfig& c = r.config.levels(l - 1);
  const Row prefixes = r.Linear(absl::StrCat("level.", l, ".converter"), source, /*bias=*/true);
  Rows in, outputs;
  for (int i = 0; i < c.prefix(); ++i) {
    in.emplace_back(prefixes.begin() + i * source.size(), prefixes.begin() + (i + 1) * source.size());
  }
  for (int j = 0; j < c.chunk(); ++j) {
    const Rows out = r.Stack(absl::StrCat("level.", l, ".decoder"), c.decoder_layers(), in,
                             Reference::Counting(in.size()), [](int, int) { return true; });
    outputs.push_back(out.back());
    if (j + 1 < c.chunk()) in.push_back(content(j, outputs));
  }
  return outputs;
}

}  // namespace

ReferenceOutput ReferenceForward(const Context& context, const LanguageModel& model, const std::vector<int32_t>& tokens,
                                 const std::vector<int32_t>& document_begin) {
  const Reference r{context, model};
  const ModelConfig& config = r.config;
  const int top = config.levels_size();
  ReferenceOutput out;
  const auto documents_match = [&](int64_t per_unit) {
    return [&, per_unit](int i, int j) { return j >= document_begin[i * per_unit] / per_unit; };
  };
  if (top == 0) {
    Rows x;
    for (int id : tokens) x.push_back(r.Embed("embedding.weight", id, config.width()));
    for (const Row& h : r.Stack("stack", config.layers(), x, Reference::Counting(x.size()), documents_match(1))) {
      out.logits.push_back(r.Linear("lm_head", h));
    }
    return out;
  }

  out.states.resize(top + 1);
  for (int id : tokens) {
    out.states[0].push_back(r.Embed("encoder_embedding.weight", id, config.width() / config.levels(0).chunk()));
  }
  std::vector<int64_t> per_unit(top + 1, 1);
  for (int l = 1; l <= top; ++l) {
    const int chunk = config.levels(l - 1).chunk();
    per_unit[l] = per_unit[l - 1] * chunk;
    Rows chunks;
    for (size_t g = 0; g * chunk < out.states[l - 1].size(); ++g) {
      Row joined = Concatenate(out.states[l - 1], g * chunk, chunk);
      const std::string p = absl::StrCat("level.", l, ".chunker.");
      chunks.push_back(l == 1 ? joined : r.Linear(p + "proj", r.Norm(p + "norm", joined), true));
    }
    const bool grouped = config.encoder_scope() == ModelConfig::GROUP && l < top;
    const int group = grouped ? config.levels(l).chunk() : static_cast<int>(chunks.size());
    std::vector<int> positions;
    for (size_t i = 0; i < chunks.size(); ++i) positions.push_back(static_cast<int>(i) % group);
    const Sees same_document = documents_match(per_unit[l]);
    const Sees sees = [&](int i, int j) { return same_document(i, j) && i / group == j / group; };
    out.states[l] =
        r.Stack(absl::StrCat("level.", l, ".encoder"), config.levels(l - 1).encoder_layers(), chunks, positions, sees);
  }

  out.reconstructions.resize(top + 1);
  out.reconstructions[top] = out.states[top];
  for (int l = top; l >= 1; --l) {
    const int chunk = config.levels(l - 1).chunk();
    for (size_t g = 0; g < out.reconstructions[l].size(); ++g) {
      Row source = out.reconstructions[l][g];
      if (l == top || config.shift() == ModelConfig::ALL) {
        const bool first = static_cast<int64_t>(g) == document_begin[g * per_unit[l]] / per_unit[l];
        source = first ? r.Flat(absl::StrCat("level.", l, ".start")) : out.reconstructions[l][g - 1];
      }
      const Rows window = Window(r, l, source, [&](int j, const Rows& own) -> Row {
        if (l == 1) return r.Embed("decoder_embedding.weight", tokens[g * chunk + j], config.width());
        return config.contents() == ModelConfig::ENCODED ? out.states[l - 1][g * chunk + j] : own[j];
      });
      out.reconstructions[l - 1].insert(out.reconstructions[l - 1].end(), window.begin(), window.end());
    }
  }
  for (const Row& h : out.reconstructions[0]) out.logits.push_back(r.Linear("lm_head", h));
  return out;
}

std::vector<double> LogSoftmax(const std::vector<double>& logits) {
  double largest = -INFINITY, sum = 0;
  for (double v : logits) largest = std::max(largest, v);
  for (double v : logits) sum += std::exp(v - largest);
  std::vector<double> out;
  for (double v : logits) out.push_back(v - largest - std::log(sum));
  return out;
}

}  // namespace photon::testing
