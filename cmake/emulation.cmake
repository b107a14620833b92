# ortho_emulated: the CUDA kernels compiled by the C++ compiler for csrc/emulation, and above them the
# ops as they are where CUDA was built. Left out, with `emulation_missing` saying why, where it cannot be.
set(emulation_missing "")
find_program(nvcc nvcc NO_CACHE HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin)
if(nvcc)
  file(REAL_PATH ${nvcc} nvcc)
  cmake_path(GET nvcc PARENT_PATH nvcc)
endif()
find_path(cuda_headers cuda_fp16.h HINTS ENV CUDA_HOME ENV CUDA_PATH ${nvcc}/.. /usr/local/cuda PATH_SUFFIXES include)
if(NOT cuda_headers)
  set(emulation_missing "needs the CUDA toolkit's headers: set CUDA_HOME")
elseif(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(emulation_missing "needs g++, whose -fsanitize=thread shows it every access")
elseif(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(emulation_missing "needs x86-64, whose registers its fibers save")
endif()
if(emulation_missing)
  message(STATUS "ortho: the emulation of CUDA kernels ${emulation_missing}")
  return()
endif()

# CuTe, from NVIDIA's package nvidia-cutlass: only for a test that holds our fragment maps against its own.
find_program(python NAMES python3 python NO_CACHE)
if(python)
  execute_process(
    COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('cutlass_library').submodule_search_locations[0])"
    OUTPUT_VARIABLE cutlass OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_path(cute_headers cute/tensor.hpp HINTS "${cutlass}/source/include")

# The emulator itself sees no sanitizer: it moves stacks about, and the hooks must not call themselves.
add_library(ortho_emulation OBJECT
  ${PROJECT_SOURCE_DIR}/csrc/emulation/fiber.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/grid.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/hooks.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/memory.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/ptx.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/runtime.cc
  ${PROJECT_SOURCE_DIR}/csrc/emulation/symbols.cc)
target_include_directories(ortho_emulation PUBLIC ${PROJECT_SOURCE_DIR}/csrc ${PROJECT_SOURCE_DIR}/csrc/include)
target_include_directories(ortho_emulation SYSTEM PUBLIC ${cuda_headers})
target_compile_definitions(ortho_emulation PUBLIC ORTHO_EMULATION ORTHO_WITH_CUDA)
target_compile_options(ortho_emulation PRIVATE -O2 -Wall -Wextra)
target_link_libraries(ortho_emulation PUBLIC ${CMAKE_DL_LIBS})

# How a kernel source is compiled: instrumented, but not linked with ThreadSanitizer's library. With other
# sanitizers at work, the undefined one is what goes with it, and sees a kernel's local arrays too.
set(emulated_options -xc++ -O1 -g1 -Wall -Wextra -Wno-unknown-pragmas)
if(ORTHO_SANITIZE)
  list(APPEND emulated_options -fno-sanitize=all -fsanitize=undefined -fno-sanitize=alignment
       -fno-sanitize-recover=all)
endif()
list(APPEND emulated_options -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)

function(ortho_emulate target)
  target_sources(${target} PRIVATE ${ARGN})
  target_link_libraries(${target} PRIVATE ortho_emulation)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${emulated_options}")
endfunction()
