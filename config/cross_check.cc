#include "config/cross_check.h"

#include "runtime/status.h"

namespace lynx {
namespace {

// host:port; IPv6 as [::1]:8101. No URL and no scheme.
bool IsAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || address.size() - colon > 6) return false;
  if (address.find('/') != std::string::npos) return false;
  int port = 0;
  for (char c : address.substr(colon + 1)) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + (c - '0');
  }
  return port >= 1 && port <= 65535;
}

void CheckAddresses(const char* path, const std::vector<std::string>& addresses,
                    std::vector<FieldError>* errors) {
  if (addresses.empty()) errors->push_back({path, "must name at least one server"});
  for (const std::string& address : addresses) {
    if (!IsAddress(address)) {
      errors->push_back({path, "must hold host:port, holds '" + address + "'"});
    }
  }
}

void CheckListen(const char* path, const std::string& address, std::vector<FieldError>* errors) {
  if (address.empty()) errors->push_back({path, "must be an address"});
}

// The ports of one role, which listen on one address; 0 is any free one.
void CheckPorts(const Config& config, std::vector<FieldError>* errors) {
  const PrefillConfig& prefill = config.prefill;
  if (prefill.port != 0 && prefill.port == prefill.data_port) {
    errors->push_back({"prefill.data_port", "must differ from prefill.port"});
  }
  if (prefill.metrics_port > 0 &&
      (prefill.metrics_port == prefill.port || prefill.metrics_port == prefill.data_port)) {
    errors->push_back(
        {"prefill.metrics_port", "must differ from prefill.port and prefill.data_port"});
  }
  const DecodeConfig& decode = config.decode;
  if (decode.metrics_port > 0 && decode.metrics_port == decode.port) {
    errors->push_back({"decode.metrics_port", "must differ from decode.port"});
  }
}

void CheckChannel(const Config& config, std::vector<FieldError>* errors) {
  const TransferConfig& transfer = config.transfer;
  // One role's file may leave the other's device at its default: each role checks its own, too.
  const bool on_gpu = config.prefill.device != "cpu" || config.decode.device != "cpu";
  if (transfer.channel == "nccl" && !on_gpu) {
    errors->push_back({"transfer.channel",
                       "nccl moves KV between GPUs: prefill.device and decode.device are cpu"});
  }
  if (transfer.channel != "tcp" && on_gpu &&
      transfer.max_frame_kib > transfer.nccl.max_operation_mib << 10) {
    errors->push_back(
        {"transfer.nccl.max_operation_mib",
         absl::StrCat("must hold transfer.max_frame_kib (", transfer.max_frame_kib, ")")});
  }
}

bool Drafts(const KvConfig& kv) { return kv.target == "int8" || kv.target == "bf16"; }

}  // namespace

std::vector<FieldError> CrossCheck(const Config& config) {
  std::vector<FieldError> errors;
  CheckListen("gateway.listen_address", config.gateway.listen_address, &errors);
  CheckListen("prefill.listen_address", config.prefill.listen_address, &errors);
  CheckListen("decode.listen_address", config.decode.listen_address, &errors);
  CheckAddresses("pools.decode", config.pools.decode, &errors);
  CheckAddresses("pools.prefill", config.pools.prefill, &errors);
  for (const std::string& name : config.gateway.served_model_names) {
    if (name.empty()) errors.push_back({"gateway.served_model_names", "holds an empty name"});
  }
  CheckPorts(config, &errors);
  if (config.transfer.min_frame_kib > config.transfer.max_frame_kib) {
    errors.push_back({"transfer.min_frame_kib", "must not exceed transfer.max_frame_kib"});
  }
  CheckChannel(config, &errors);
  const int64_t verification_rows = config.speculation.max_draft_tokens + 1;
  if (Drafts(config.kv) && verification_rows > config.decode.max_batch_rows) {
    errors.push_back({"speculation.max_draft_tokens",
                      absl::StrCat("needs ", verification_rows,
                                   " rows for a verification; decode.max_batch_rows is ",
                                   config.decode.max_batch_rows)});
  }
  return errors;
}

}  // namespace lynx
