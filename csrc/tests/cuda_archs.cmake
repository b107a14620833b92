# The spellings of ORTHO_CUDA_ARCHS and what becomes of them.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/../../cmake/cuda_archs.cmake)

function(expect text names targets)
  ortho_parse_cuda_archs("${text}" got_names got_targets)
  if(NOT "${got_names}" STREQUAL "${names}" OR NOT "${got_targets}" STREQUAL "${targets}")
    message(SEND_ERROR "\"${text}\" gave \"${got_names}\" and \"${got_targets}\"")
  endif()
endfunction()

expect("80" "80" "80-real")
expect("80;90a" "80;90a" "80-real;90a-real")
expect("8.0;9.0a;10.0a;12.0a+PTX" "80;90a;100a;120a;compute_120a"
       "80-real;90a-real;100a-real;120a-real;120a-virtual")
expect("8.0 8.6, 9.0+PTX" "80;86;90;compute_90" "80-real;86-real;90-real;90-virtual")
expect("compute_80 100f 80 80" "100f;80;compute_80" "100f-real;80-real;80-virtual")
expect("all" "80;90a;100a;120a;compute_80" "80-real;90a-real;100a-real;120a-real;80-virtual")
