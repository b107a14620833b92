# That the compiler made of the intrinsic in kernels_avx512_bf16.cc what it stands for, in full width: no
# test machine need be able to run it.
string(REPLACE "," ";" OBJECTS "${OBJECTS}")
list(FILTER OBJECTS INCLUDE REGEX "kernels_avx512_bf16")
execute_process(COMMAND ${OBJDUMP} -d ${OBJECTS} OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "vdpbf16ps [^\n]*%zmm" found "${code}")
list(LENGTH found count)
# The largest tile alone, eight rows of three vectors, has 24.
if(count LESS 24)
  message(FATAL_ERROR "${count} instructions vdpbf16ps in ${OBJECTS}")
endif()
