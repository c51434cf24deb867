# Compiler settings, and the few functions that every folder's CMakeLists.txt uses.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Paths below the clone are taken as relative, so that every clone on a machine shares one cache.
  set(ccache ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${ccache})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ccache})
endif()

find_program(MOLD_PROGRAM mold)  # links forty test programs in the time that ld takes for four
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

find_package(Threads REQUIRED)
find_program(FLATC flatc REQUIRED)

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-Wno-restrict)  # false alarms of GCC 12 on std::string (its bug 105651)
endif()
if(MUSTER_WERROR)
  add_compile_options(-Werror)
endif()
if(MUSTER_SANITIZE)
  # -g1: file and line in a report, at a third of the link time. Not optimised: -O1 takes twice as long to compile
  # FlatBuffers are read where RocksDB or the wire has put them: x86-64 and arm64 read unaligned words.
  add_compile_options(-fsanitize=${MUSTER_SANITIZE} -fno-sanitize=alignment -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${MUSTER_SANITIZE})
endif()

# muster_library(NAME SOURCES... [DEPENDS targets...])
# A static library; includes are written from the root of the tree ("storage/base/error.hpp").
function(muster_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_DEPENDS} Threads::Threads)
endfunction()

# muster_program(NAME SOURCES... [DEPENDS targets...]): an installed executable, with mimalloc. The programs
# stand together in bin/ of the build directory, because musterd starts the sandboxd beside it.
function(muster_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} Threads::Threads)
  if(MUSTER_MIMALLOC)
    find_package(mimalloc REQUIRED)
    target_link_libraries(${name} PRIVATE mimalloc)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# muster_schema(NAME SCHEMAS... [DEPENDS targets...])
# Generates FlatBuffers headers: storage/schema/wire.fbs is included as "storage/schema/wire_generated.h".
# Generated code is a system include, so our warnings don't apply to it.
function(muster_schema name)
  cmake_parse_arguments(arg "" "" "SCHEMAS;DEPENDS" ${ARGN})
  set(outputs)
  foreach(schema ${arg_SCHEMAS})
    get_filename_component(stem ${schema} NAME_WE)
    file(RELATIVE_PATH dir ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${schema})
    get_filename_component(dir ${dir} DIRECTORY)
    set(out ${PROJECT_BINARY_DIR}/generated/${dir}/${stem}_generated.h)
    add_custom_command(
      OUTPUT ${out}
      COMMAND ${FLATC} --cpp --gen-object-api --gen-compare --gen-name-strings --reflect-names --scoped-enums --cpp-std c++17
              --keep-prefix --bfbs-gen-embed --bfbs-builtins --bfbs-comments
              -I ${PROJECT_SOURCE_DIR} -o ${PROJECT_BINARY_DIR}/generated/${dir}
              ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
      COMMAND ${CMAKE_COMMAND} -E touch ${out}
      DEPENDS ${schema} ${FLATC}
      VERBATIM)
    list(APPEND outputs ${out})
  endforeach()
  add_custom_target(${name}_generate DEPENDS ${outputs})
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_generate)
  target_include_directories(${name} SYSTEM INTERFACE ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(${name} INTERFACE ${arg_DEPENDS} flatbuffers)
endfunction()

# muster_test(NAME SOURCES... [DEPENDS targets...] [TIMEOUT seconds] [LABELS labels...])
# A Catch2 program, registered with ctest as one test under its own name.
function(muster_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT TARGET muster_test_main)
    add_library(muster_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/main.cpp)
    target_compile_options(muster_test_main PRIVATE -w)  # GCC 12 warns of Catch2 itself under sanitizers
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} muster_test_main Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
endfunction()
