# Build settings that hold for every target, and the two functions that targets are made with.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")  # asserts stay on: they cost little and this is a server

find_program(LYNX_CCACHE ccache)
if(LYNX_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LYNX_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LYNX_CCACHE})
endif()

option(LYNX_WERROR "Warnings are errors: for the compilers that we know" ON)
set(werror $<$<BOOL:${LYNX_WERROR}>:-Werror>)

# -ffp-contract=off: arithmetic is written down, fused multiply-adds are explicit (docs/exactness.md).
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;${werror};-Wno-psabi;-ffp-contract=off;-fno-omit-frame-pointer>")
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_compile_options(-Wthread-safety)
endif()
if(LYNX_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -g1")  # compiles in two thirds of the time
  add_compile_options(-fsanitize=${LYNX_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LYNX_SANITIZE})
endif()
if(LYNX_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# What every test runs under.
set(LYNX_TEST_ENVIRONMENT "")
if(LYNX_SANITIZE STREQUAL "thread")
  set(LYNX_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan/suppressions.txt")
endif()

# lynx_library(NAME SOURCES a.cc b.cc DEPS x y): target lynx_NAME, headers included as "folder/file.h".
function(lynx_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(lynx_${name} STATIC ${ARG_SOURCES})
  target_include_directories(lynx_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(lynx_${name} PUBLIC ${ARG_DEPS})
endfunction()

# lynx_test(NAME SOURCES a_test.cc DEPS lynx_x [LABELS slow] [TIMEOUT 120] [MODELS a.gguf]): one Catch2
# program, one ctest case. LYNX_TEST_DATA names tests/data, LYNX_SOURCE_DIR the checkout. Without a
# file of MODELS in models/ it is skipped, or fails where CI is set.
function(lynx_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS;MODELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(LYNX_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")  # a limit is for what hangs, not for what is slow
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE lynx_catch_main ${ARG_DEPS})
  if(LYNX_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)  # half the compile time again
  endif()
  if(LYNX_FUZZ AND "slow" IN_LIST ARG_LABELS)  # nobody waits for them in that tree
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
  endif()
  target_compile_definitions(${name} PRIVATE
    LYNX_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" LYNX_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(ARG_MODELS)
    add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/with-models.sh ${ARG_MODELS} --
      $<TARGET_FILE:${name}>)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "${LYNX_TEST_ENVIRONMENT}")
endfunction()
