# LIBRARY exports every function of the header and nothing else; NM lists them.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
                OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(TRANSFORM symbols REPLACE " .*" "")
list(REMOVE_DUPLICATES symbols)
list(SORT symbols)

file(READ ${CMAKE_CURRENT_LIST_DIR}/../include/ortho/ortho.h header)
string(REGEX MATCHALL "ORTHO_API [^(;]*ortho_[a-z_]+\\(" declared "${header}")
list(TRANSFORM declared REPLACE "^.*(ortho_[a-z_]+)\\($" "\\1")
list(SORT declared)

if(NOT declared OR NOT symbols STREQUAL declared)
  message(FATAL_ERROR "exported: ${symbols}\ndeclared: ${declared}")
endif()
