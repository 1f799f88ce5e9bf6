# LYNX_COMPONENTS: what is built, and so which packages must be there.
#   all       everything
#   kernels   runtime/ and kernels/ with their GPU backends, tests/cuda/, bench/cuda/
#   transfer  with kernels: transfer/ and its tests of NCCL
# The last two are for machines that lack the servers' packages (tests/gpu.sh).
set(LYNX_COMPONENTS "all" CACHE STRING "'all', or a list of 'kernels' and 'transfer'")
foreach(component all kernels transfer)
  string(TOUPPER ${component} upper)
  set(LYNX_WITH_${upper} OFF)
  if("all" IN_LIST LYNX_COMPONENTS OR "${component}" IN_LIST LYNX_COMPONENTS)
    set(LYNX_WITH_${upper} ON)
  endif()
endforeach()
if(NOT LYNX_WITH_KERNELS)
  message(FATAL_ERROR "LYNX_COMPONENTS: nothing is built without 'all' or 'kernels'")
endif()
