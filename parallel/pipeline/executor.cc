#include "parallel/pipeline/executor.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "core/tape.h"
#include "core/time.h"

namespace photon::pipeline {
namespace {

class Executor {
 public:
  Executor(const Layout& layout, const Schedule& schedule, const EdgeForms& forms, Communicator& pp,
           const Context& context, Stage& stage)
      : layout_(layout), schedule_(schedule), forms_(forms), pp_(pp), context_(context), stage_(stage) {}

  absl::StatusOr<std::vector<Span>> Run() {
    PHOTON_RETURN_IF_ERROR(CheckFit());
    const std::vector<Instruction>& list = schedule_.ranks[pp_.rank()];
    for (const Instruction& i : list) {
      // Input gradients and, after them or with them, weight gradients: the last one wins.
      if (i.task == Task::kBackward || i.task == Task::kWeights) last_[i.segment] = i.microbatch;
    }
    const double start = Now();
    std::vector<Span> spans;
    for (size_t n = 0; n < list.size(); ++n) {
      const double begin = Now() - start;
      if (const absl::Status status = Do(list[n]); !status.ok()) {
        return absl::Status(status.code(),
                            absl::StrCat("pipeline rank ", pp_.rank(), " of ", pp_.size(), ", instruction ", n, ", ",
                                         Describe(layout_, list[n]), ": ", status.message()));
      }
      if (list[n].task != Task::kSend) spans.push_back({list[n], begin, Now() - start});
    }
    PHOTON_RETURN_IF_ERROR(pp_.FinishPosts());
    return spans;
  }

 private:
  using Tensors = std::vector<Tensor>;
  using Key = std::pair<int, int>;  // edge, microbatch

  // A value that is on this rank, until all have had it.
  struct Held {
    Tensors tensors;
    int readers = 0;  // segments here, or ranks elsewhere
  };

  absl::Status CheckFit() const {
    if (pp_.size() == layout_.ranks() && schedule_.ranks.size() == static_cast<size_t>(layout_.ranks()) &&
        forms_.size() == layout_.edges().size()) {
      return absl::OkStatus();
    }
    return absl::InternalError(absl::StrCat("pipeline of ", layout_.ranks(), " ranks and ", layout_.edges().size(),
                                            " edges, run by ", pp_.size(), " ranks, with a schedule for ",
                                            schedule_.ranks.size(), " and forms of ", forms_.size()));
  }

  absl::Status Do(const Instruction& i) {
    switch (i.task) {
      case Task::kForward:
        return Forward(i);
      case Task::kBackward:
        return Backward(i);
      case Task::kWeights:
        stage_.WeightGradients(i.microbatch, i.segment);
        return absl::OkStatus();
      case Task::kSend:
        return Send(i);
      default:
        return Receive(i);
    }
  }

  absl::Status Forward(const Instruction& i) {
    Stage::Values inputs;
    for (const int edge : layout_.incoming(i.segment)) {
      inputs.push_back(TakeTurn(here_, {edge, i.microbatch}));
    }
    const auto last = last_.find(i.segment);
    Stage::Values outputs =
        stage_.Forward(i.microbatch, i.segment, std::move(inputs), last != last_.end() && last->second == i.microbatch);
    const std::vector<int>& edges = layout_.outgoing(i.segment);
    if (outputs.size() != edges.size()) return WrongCount("values", outputs.size(), edges.size());
    for (size_t n = 0; n < edges.size(); ++n) {
      PHOTON_RETURN_IF_ERROR(Fit(edges[n], /*may_be_empty=*/false, outputs[n]));
      const int elsewhere = static_cast<int>(layout_.OtherReaders(edges[n], i.microbatch, false).size());
      if (elsewhere > 0) to_send_[{edges[n], i.microbatch}] = {outputs[n], elsewhere};
      Keep(edges[n], i.microbatch, std::move(outputs[n]));
    }
    return absl::OkStatus();
  }

  absl::Status Backward(const Instruction& i) {
    Stage::Values output_gradients;
    for (const int edge : layout_.outgoing(i.segment)) output_gradients.push_back(TakeGradients({edge, i.microbatch}));
    Stage::Values gradients = stage_.Backward(i.microbatch, i.segment, std::move(output_gradients), schedule_.split);
    const std::vector<int>& edges = layout_.incoming(i.segment);
    if (gradients.size() != edges.size()) return WrongCount("gradients", gradients.size(), edges.size());
    for (size_t n = 0; n < edges.size(); ++n) {
      if (!layout_.Differentiated(edges[n], i.segment)) continue;
      PHOTON_RETURN_IF_ERROR(Fit(edges[n], /*may_be_empty=*/true, gradients[n]));
      Add(edges[n], i.microbatch, std::move(gradients[n]));
    }
    return absl::OkStatus();
  }

  absl::Status Send(const Instruction& i) {
    const Key key = {i.edge, i.microbatch};
    const Tensors tensors = i.gradient ? TakeGradients(key) : TakeTurn(to_send_, key);
    for (const Tensor& tensor : tensors) {
      PHOTON_RETURN_IF_ERROR(pp_.Post(layout_.edges()[i.edge].name, tensor, i.peer, Tag(i)));
    }
    return absl::OkStatus();
  }

  absl::Status Receive(const Instruction& i) {
    Tensors tensors;
    for (const TensorForm& form : forms_[i.edge]) {
      tensors.push_back(context_.Empty(form.shape, form.dtype));
      PHOTON_RETURN_IF_ERROR(pp_.Receive(layout_.edges()[i.edge].name, tensors.back(), i.peer, Tag(i)));
    }
    if (i.gradient) {
      Add(i.edge, i.microbatch, std::move(tensors));
    } else {
      Keep(i.edge, i.microbatch, std::move(tensors));
    }
    return absl::OkStatus();
  }

  static int Tag(const Instruction& i) { return 2 * i.edge + (i.gradient ? 1 : 0); }

  // Hands a value to one of its readers; the last gets the only handle.
  static Tensors TakeTurn(std::map<Key, Held>& values, const Key& key) {
    const auto found = values.find(key);
    PHOTON_CHECK(found != values.end()) << "a schedule that no checker saw";
    if (--found->second.readers > 0) return found->second.tensors;
    Tensors tensors = std::move(found->second.tensors);
    values.erase(found);
    return tensors;
  }

  void Keep(int edge, int microbatch, Tensors tensors) {
    int readers = 0;
    for (const Edge::Reader& reader : layout_.edges()[edge].readers) {
      readers += layout_.RankOf(reader.segment, microbatch) == pp_.rank();
    }
    if (readers > 0) here_[{edge, microbatch}] = {std::move(tensors), readers};
  }

  void Add(int edge, int microbatch, Tensors gradients) {
    std::vector<GradientSlot>& sums = gradients_[{edge, microbatch}];
    sums.resize(forms_[edge].size());
    for (size_t n = 0; n < gradients.size(); ++n) {
      if (gradients[n].defined()) sums[n].Accumulate(context_, std::move(gradients[n]));
    }
  }

  // The sums so far; zeros where readers gave nothing. Empty where nobody differentiates the edge.
  Tensors TakeGradients(const Key& key) {
    Tensors sums;
    const auto found = gradients_.find(key);
    if (found == gradients_.end()) return sums;
    for (size_t n = 0; n < found->second.size(); ++n) {
      const TensorForm& form = forms_[key.first][n];
      sums.push_back(found->second[n].Take());
      if (!sums.back().defined()) sums.back() = context_.Zeros(form.shape, form.dtype);
    }
    gradients_.erase(found);
    return sums;
  }

  // Brings what a stage returned for an edge into the edge's form: contiguous, and of its shape (gradients keep the
  // shape that they were computed in).
  absl::Status Fit(int edge, bool may_be_empty, Tensors& tensors) const {
    const std::vector<TensorForm>& forms = forms_[edge];
    if (tensors.size() != forms.size()) {
      return WrongCount(layout_.edges()[edge].name, tensors.size(), forms.size());
    }
    for (size_t n = 0; n < forms.size(); ++n) {
      Tensor& tensor = tensors[n];
      if (!tensor.defined() && may_be_empty) continue;
      if (!tensor.defined() || tensor.dtype() != forms[n].dtype || tensor.elements() != forms[n].shape.elements()) {
        return absl::InternalError(absl::StrCat("the stage gave ", tensor.defined() ? tensor.ToString() : "nothing",
                                                " as tensor ", n, " of ", layout_.edges()[edge].name, ", not ",
                                                Name(forms[n].dtype), forms[n].shape.ToString()));
      }
      if (!tensor.contiguous()) {
        Tensor whole = context_.Empty(tensor.shape(), tensor.dtype());
        ops::Cast(context_, tensor, whole);
        tensor = std::move(whole);
      }
      tensor = tensor.Reshape(forms[n].shape);
    }
    return absl::OkStatus();
  }

  static absl::Status WrongCount(absl::string_view what, size_t got, size_t wanted) {
    return absl::InternalError(absl::StrCat("the stage gave ", got, " ", what, ", not ", wanted));
  }

  const Layout& layout_;
  const Schedule& schedule_;
  const EdgeForms& forms_;
  Communicator& pp_;
  const Context& context_;
  Stage& stage_;
  std::map<int, int> last_;                             // segment -> microbatch of its last gradients here, if any
  std::map<Key, Held> here_, to_send_;                  // for segments here, for other ranks
  std::map<Key, std::vector<GradientSlot>> gradients_;  // sums, one a tensor
};

}  // namespace

absl::StatusOr<std::vector<Span>> RunSchedule(const Layout& layout, const Schedule& schedule, const EdgeForms& forms,
                                              Communicator& pp, const Context& context, Stage& stage) {
  return Executor(layout, schedule, forms, pp, context, stage).Run();
}

}  // namespace photon::pipeline
