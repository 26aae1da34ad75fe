# Third-party packages, all from the distribution. Each odd line avoids a failure that was seen.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(absl CONFIG REQUIRED)
find_package(Protobuf REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)

set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)

# Not find_package(dnnl): Debian's dnnl-config.cmake requires OpenCL headers and aborts the configure.
function(photon_import name library header)
  find_library(${name}_LIBRARY ${library} REQUIRED)
  find_path(${name}_INCLUDE_DIR ${header} REQUIRED)
  add_library(photon::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(photon::${name} PROPERTIES IMPORTED_LOCATION ${${name}_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${${name}_INCLUDE_DIR})
endfunction()
photon_import(dnnl dnnl oneapi/dnnl/dnnl.hpp)
photon_import(sentencepiece sentencepiece sentencepiece_processor.h)
photon_import(sentencepiece_train sentencepiece_train sentencepiece_trainer.h)
photon_import(xxhash xxhash xxhash.h)
photon_import(pcre2 pcre2-8 pcre2.h)
photon_import(re2 re2 re2/re2.h)
photon_import(icu icuuc unicode/normalizer2.h)
photon_import(zlib z zlib.h)
photon_import(zstd zstd zstd.h)
photon_import(simdjson simdjson simdjson.h)
photon_import(gloo gloo gloo/context.h)
photon_import(httplib cpp-httplib httplib.h)

# photon_folder(NAME DEPS...): the static library photon_NAME of every .cc in the current folder, but for folders named
# cuda, which go into a module of their own.
function(photon_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/cuda/")
  if(NOT sources)
    add_library(photon_${name} INTERFACE)
    target_link_libraries(photon_${name} INTERFACE ${ARGN})
    return()
  endif()
  add_library(photon_${name} STATIC ${sources})
  target_link_libraries(photon_${name} PUBLIC ${ARGN})
  photon_precompile(photon_${name})
endfunction()

# Reads what nearly every file of `target` begins with, and ARGN, once for all of them: a fifth of the time of a first build.
# Files include what they use all the same.
function(photon_precompile target)
  target_precompile_headers(${target} PRIVATE <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/types/span.h>
                            ${ARGN})
endfunction()
