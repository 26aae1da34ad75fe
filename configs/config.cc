#include "configs/config.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>

#include <algorithm>

#include "configs/layout.h"
#include "configs/model_config.h"
#include "configs/parse.h"

namespace photon {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void WriteDefault(const FieldDescriptor* field, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.SetInt32(message, field, field->default_value_int32());
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(message, field, field->default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.SetUInt32(message, field, field->default_value_uint32());
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(message, field, field->default_value_uint64());
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.SetFloat(message, field, field->default_value_float());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.SetDouble(message, field, field->default_value_double());
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(message, field, field->default_value_bool());
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(message, field, field->default_value_string());
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(message, field, field->default_value_enum());
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return;
  }
}

void WriteDefaults(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (field->is_repeated()) {
      for (int j = 0; is_message && j < reflection.FieldSize(*message, field); ++j) {
        WriteDefaults(reflection.MutableRepeatedMessage(message, field, j));
      }
    } else if (is_message) {
      WriteDefaults(reflection.MutableMessage(message, field));
    } else if (field->has_default_value() && !reflection.HasField(*message, field)) {
      WriteDefault(field, message);
    }
  }
}

}  // namespace

absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text, const std::string& name) {
  RunConfig config;
  if (absl::Status status = ParseText(text, name, &config); !status.ok()) return status;
  return config;
}

absl::StatusOr<RunConfig> LoadRunConfig(const std::string& path, const std::vector<std::string>& overrides) {
  RunConfig config;
  if (absl::Status status = ParseFile(path, "config", &config); !status.ok()) return status;
  for (const std::string& assignment : overrides) {
    if (absl::Status status = ApplyOverride(assignment, &config); !status.ok()) return status;
  }
  return config;
}

RunConfig Resolved(const RunConfig& config, int world_size) {
  RunConfig resolved = config;
  WriteDefaults(&resolved);
  resolved.mutable_model()->set_kv_heads(KvHeads(resolved.model()));
  DataConfig& data = *resolved.mutable_data();
  if (!config.data().has_chat_template()) data.clear_chat_template();  // one of defaults alone would be a wrong one
  if (!data.has_align()) data.set_align(static_cast<int32_t>(ChunkProduct(resolved.model())));
  ParallelConfig& parallel = *resolved.mutable_parallel();
  const absl::StatusOr<LayoutSizes> sizes = SizesOfLayout(parallel, world_size);
  if (!sizes.ok()) return resolved;
  parallel.set_dp(sizes->dp);
  TrainingConfig& training = *resolved.mutable_training();
  if (!training.has_micro_batch_sequences()) training.set_micro_batch_sequences(training.batch_sequences() / sizes->dp);
  if (!config.parallel().has_bucket_mb() && parallel.shard() != ParallelConfig::NOTHING) {
    parallel.set_bucket_mb(std::max<double>(parallel.bucket_mb(), int64_t{sizes->dp} * sizes->cp));
  }
  return resolved;
}

std::string ToText(const Message& message) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}

}  // namespace photon
