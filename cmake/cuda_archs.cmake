# Which GPUs to compile for. Spellings accepted, in any mixture, separated by ; or , or blanks:
#   80 90a 8.0 9.0a     machine code for that GPU
#   9.0a+PTX            the same, and PTX that later GPUs of its kind compile when the module loads
#   compute_80          PTX only
#   all                 what releases hold: one machine code for each generation from Ampere on that has
#                       kernels of its own, and compute_80 PTX for cards that come later
set(ORTHO_CUDA_ARCHS_ALL "80;90a;100a;120a;compute_80")

# Sets `names` to the list as ortho_cuda_archs() reports it ("80;90a;compute_80") and `targets` to the
# same for CMAKE_CUDA_ARCHITECTURES ("80-real;90a-real;80-virtual").
function(ortho_parse_cuda_archs text names targets)
  string(REGEX REPLACE "[ ,;]+" ";" tokens "${text}")
  list(REMOVE_ITEM tokens "")
  set(machine_codes "")
  set(ptx "")
  foreach(token IN LISTS tokens)
    if(token STREQUAL "all")
      ortho_parse_cuda_archs("${ORTHO_CUDA_ARCHS_ALL}" all_names all_targets)
      set(${names} "${all_names}" PARENT_SCOPE)
      set(${targets} "${all_targets}" PARENT_SCOPE)
      return()
    elseif(token MATCHES "^compute_([0-9]+[af]?)$")
      list(APPEND ptx ${CMAKE_MATCH_1})
    elseif(token MATCHES "^([0-9]+)\\.?([0-9])([af]?)(\\+PTX)?$")
      set(arch ${CMAKE_MATCH_1}${CMAKE_MATCH_2}${CMAKE_MATCH_3})
      list(APPEND machine_codes ${arch})
      if(CMAKE_MATCH_4)
        list(APPEND ptx ${arch})
      endif()
    else()
      message(FATAL_ERROR "ORTHO_CUDA_ARCHS (or TORCH_CUDA_ARCH_LIST) must be \"all\" or a list such as "
                          "\"80;90a\" or \"8.0;9.0a+PTX\", got \"${text}\"")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES machine_codes)
  list(REMOVE_DUPLICATES ptx)
  list(TRANSFORM machine_codes APPEND "-real" OUTPUT_VARIABLE real)
  list(TRANSFORM ptx APPEND "-virtual" OUTPUT_VARIABLE virtual)
  list(TRANSFORM ptx PREPEND "compute_")
  set(${names} ${machine_codes} ${ptx} PARENT_SCOPE)
  set(${targets} ${real} ${virtual} PARENT_SCOPE)
endfunction()

# The archs when nobody named any: those of the GPUs in this machine, else one.
function(ortho_default_cuda_archs archs)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE text ERROR_QUIET RESULT_VARIABLE failed)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" found "${text}")
  if(failed OR NOT found)
    # No GPU here, so this build is for checking that it builds, and each further arch costs as much again.
    # 90a compiles the most of the source: the Hopper kernels exist only for it, and nothing else needs
    # more. A build made here for other machines names its archs.
    set(${archs} 90a PARENT_SCOPE)
    return()
  endif()
  foreach(capability IN LISTS found)
    if(capability VERSION_GREATER_EQUAL 9.0)
      string(APPEND capability a) # this very GPU: its own instructions may be used
    endif()
    list(APPEND result ${capability})
  endforeach()
  set(${archs} ${result} PARENT_SCOPE)
endfunction()
