#include "transfer/nccl_api.h"

#include <dlfcn.h>

namespace lynx {
namespace {

absl::Status Unusable(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(
      what, ": install NCCL ", NcclVersionName(NCCL_VERSION_CODE),
      " or newer, and look at LD_LIBRARY_PATH if it is installed; transfer.channel=tcp does "
      "without it"));
}

absl::StatusOr<NcclApi> CheckVersion(NcclApi api) {
  int version = 0;
  if (api.GetVersion(&version) != ncclSuccess) return Unusable("NCCL does not tell its version");
  if (version < NCCL_VERSION_CODE) {
    return Unusable(absl::StrCat("NCCL ", NcclVersionName(static_cast<uint32_t>(version)),
                                 " was found, which is too old"));
  }
  api.version = static_cast<uint32_t>(version);
  return api;
}

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
  return *function != nullptr;
}

#ifdef LYNX_NCCL_LINKED
absl::StatusOr<NcclApi> ProcessNccl() {
  return CheckVersion({.GetVersion = &::ncclGetVersion,
                       .GetErrorString = &::ncclGetErrorString,
                       .GetLastError = &::ncclGetLastError,
                       .GetUniqueId = &::ncclGetUniqueId,
                       .CommInitRankConfig = &::ncclCommInitRankConfig,
                       .CommGetAsyncError = &::ncclCommGetAsyncError,
                       .CommRevoke = &::ncclCommRevoke,
                       .CommAbort = &::ncclCommAbort,
                       .GroupStart = &::ncclGroupStart,
                       .GroupEnd = &::ncclGroupEnd,
                       .Send = &::ncclSend,
                       .Recv = &::ncclRecv,
                       .version = 0});
}
#else
absl::StatusOr<NcclApi> ProcessNccl() { return OpenNccl(kNcclLibrary); }
#endif

const absl::StatusOr<NcclApi>& Loaded() {
  static const auto* const loaded = new absl::StatusOr<NcclApi>(ProcessNccl());
  return *loaded;
}

}  // namespace

absl::StatusOr<NcclApi> OpenNccl(const std::string& library) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return Unusable(absl::StrCat("NCCL cannot be loaded (", ::dlerror(), ")"));
  }
  NcclApi api{};
  const bool complete = Find(handle, "ncclGetVersion", &api.GetVersion) &&
                        Find(handle, "ncclGetErrorString", &api.GetErrorString) &&
                        Find(handle, "ncclGetLastError", &api.GetLastError) &&
                        Find(handle, "ncclGetUniqueId", &api.GetUniqueId) &&
                        Find(handle, "ncclCommInitRankConfig", &api.CommInitRankConfig) &&
                        Find(handle, "ncclCommGetAsyncError", &api.CommGetAsyncError) &&
                        Find(handle, "ncclCommAbort", &api.CommAbort) &&
                        Find(handle, "ncclGroupStart", &api.GroupStart) &&
                        Find(handle, "ncclGroupEnd", &api.GroupEnd) &&
                        Find(handle, "ncclSend", &api.Send) && Find(handle, "ncclRecv", &api.Recv);
  if (!complete) return Unusable(absl::StrCat(library, " lacks functions of NCCL"));
  // Old ones lack it: their version says more than that.
  const bool revokes = Find(handle, "ncclCommRevoke", &api.CommRevoke);
  ASSIGN_OR_RETURN(api, CheckVersion(api));
  if (!revokes) return Unusable(absl::StrCat(library, " lacks ncclCommRevoke"));
  return api;
}

absl::StatusOr<const NcclApi*> LoadNccl() {
  const absl::StatusOr<NcclApi>& loaded = Loaded();
  RETURN_IF_ERROR(loaded.status());
  return &*loaded;
}

const NcclApi& Nccl() { return *Loaded(); }

std::string NcclVersionName(uint32_t version) {
  return absl::StrCat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace lynx
