#include "config/fields.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "config/field_list.h"

namespace lynx {
namespace {

void AddKvFields(KvConfig& c, FieldList& list) {
  list.Choice("kv.target", &c.target, {"int8", "bf16", "int8_whole", "int4_whole", "bf16_whole"},
              "The precision of the prompt's KV that tokens are decided with; servers work "
              "together only if it is equal. int8: fastest. bf16: restored bit for bit, about 11 "
              "instead of 8.4 bits a value to send and twice the memory. int8_whole, int4_whole "
              "and bf16_whole are baselines in one piece that draft nothing, for measurements.");
  const std::string bits_help =
      " that travel first. More: drafts are accepted more often; fewer: drafting starts sooner. "
      "K5V4 is the default, K4V4 the fastest worth drafting on, K6V5 the most exact. Never "
      "changes the text. The decode server's setting counts.";
  list.Int("kv.anchor_bits.k", &c.anchor_bits.k, 3, 7, "Bits of a key" + bits_help);
  list.Int("kv.anchor_bits.v", &c.anchor_bits.v, 3, 7, "Bits of a value" + bits_help);
  list.Int("kv.memory_mib.prefill", &c.memory_mib.prefill, 1, int64_t{1} << 24,
           "A prefill server's memory for KV. More: more prompts at a time. A prompt that needs "
           "more than all of it is refused.");
  list.Int("kv.memory_mib.decode", &c.memory_mib.decode, 1, int64_t{1} << 24,
           "A decode server's memory for KV. More: more requests at a time. A request that needs "
           "more than all of it is refused; one that does not fit now waits.");
  list.Int("kv.staging_mib.prefill", &c.staging_mib.prefill, 1, int64_t{1} << 24,
           "Over TCP: pinned host memory that a prefill server on a GPU sends KV from, beside its "
           "memory for "
           "KV. More: more prompts at a time over slow links.");
  list.Int("kv.staging_mib.decode", &c.staging_mib.decode, 1, int64_t{1} << 24,
           "Over TCP: pinned host memory that a decode server on a GPU receives KV in. It must "
           "hold the KV of "
           "the longest prompt.");
}

}  // namespace

std::vector<Field> DescribeFields(Config& config) {
  FieldList list;
  list.Text("model", &config.model,
            "A GGUF file or a Hugging Face folder. All roles need the same one.");
  AddGatewayFields(config.gateway, list);
  AddPoolsFields(config.pools, list);
  AddPrefillFields(config.prefill, list);
  AddDecodeFields(config.decode, list);
  AddTransferFields(config.transfer, list);
  AddKvFields(config.kv, list);
  list.Int("speculation.max_draft_tokens", &config.speculation.max_draft_tokens, 0, 4096,
           "Tokens drafted while the Residual is on its way. More: more to commit at once if the "
           "link is slow; each costs a pass and a row of the verification. 0: never draft.");
  list.Choice("log.level", &config.log.level, {"trace", "debug", "info", "warn", "error"},
              "Lines below it are not written. debug and trace cost speed.");
  list.Choice("log.format", &config.log.format, {"text", "json"},
              "text: key=value, for people. json: an object a line, for log stores.");
  list.Bool("log.requests", &config.log.requests,
            "A line for each finished request on every server that it went through.");
  list.Bool("log.prompts", &config.log.prompts,
            "The gateway's log holds the bodies of requests: what users wrote. Only for looking "
            "for an error.");
  list.Int("trace.requests", &config.trace.requests, 0, 100000,
           "The latest requests that each server remembers the course of, for `lynx trace`. 0: "
           "none.");
  list.Int("trace.spans", &config.trace.spans, 16, 1000000,
           "Steps that are remembered of one request, about 100 bytes each. What is beyond is "
           "counted.");
  return list.Take();
}

const Field* FindField(const std::vector<Field>& fields, std::string_view path) {
  for (const Field& field : fields) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

bool IsSection(const std::vector<Field>& fields, std::string_view path) {
  for (const Field& field : fields) {
    if (field.path.size() > path.size() && field.path[path.size()] == '.' &&
        std::string_view(field.path).substr(0, path.size()) == path) {
      return true;
    }
  }
  return false;
}

std::string EnvironmentName(std::string_view path) {
  std::string name(path);
  for (char& c : name) c = c == '.' ? '_' : absl::ascii_toupper(static_cast<unsigned char>(c));
  return "LYNX_" + name;
}

std::vector<std::string> PathParts(std::string_view path) {
  return absl::StrSplit(absl::string_view(path.data(), path.size()), '.');
}

}  // namespace lynx
