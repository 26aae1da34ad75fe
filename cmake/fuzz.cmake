# Fuzzers: everything is compiled for libFuzzer to see which branches an input takes, and with the sanitizers that find what
# it does wrong. tests/fuzz/run.sh configures a folder of its own this way.
if(NOT PHOTON_FUZZ)
  return()
endif()
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "PHOTON_FUZZ needs clang, whose libFuzzer it is, and the compiler is ${CMAKE_CXX_COMPILER_ID}: "
                      "use a build folder of its own and -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_C_COMPILER=clang-14, "
                      "or start tests/fuzz/run.sh")
endif()
set(PHOTON_SANITIZE address,undefined)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
add_compile_options(-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined)
