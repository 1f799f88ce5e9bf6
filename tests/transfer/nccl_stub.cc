// A library that looks like NCCL and is of version STUB_VERSION; without STUB_REVOKES it lacks
// ncclCommRevoke. Nothing in it may be called but ncclGetVersion.
extern "C" {
int ncclGetVersion(int* version) {
  *version = STUB_VERSION;
  return 0;
}
#define LYNX_STUB(name) \
  void name() { __builtin_trap(); }
LYNX_STUB(ncclGetErrorString)
LYNX_STUB(ncclGetLastError)
LYNX_STUB(ncclGetUniqueId)
LYNX_STUB(ncclCommInitRankConfig)
LYNX_STUB(ncclCommGetAsyncError)
LYNX_STUB(ncclCommAbort)
LYNX_STUB(ncclGroupStart)
LYNX_STUB(ncclGroupEnd)
LYNX_STUB(ncclSend)
LYNX_STUB(ncclRecv)
#ifdef STUB_REVOKES
LYNX_STUB(ncclCommRevoke)
#endif
}
