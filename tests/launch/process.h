// Runs the program that was built with these tests, as a user would.
#pragma once

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

namespace photon::testing {

struct Outcome {
  int exit_code = -1;  // as the shell gives it: 128 + signal where one ended the program
  std::string out;
  std::string err;
};

// `photon ARGUMENTS` through the shell; `variables` stand before it: RunPhoton("prepare", "OMPI_COMM_WORLD_RANK=1").
inline Outcome RunPhoton(const std::string& arguments, const std::string& variables = "") {
  const std::string err_path = absl::StrCat(::testing::TempDir(), "/photon-stderr-", getpid());
  const std::string command = absl::StrCat(variables, " ", PHOTON_BINARY, " ", arguments, " 2>", err_path);
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) outcome.out.append(buffer, n);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream err(err_path);
  outcome.err.assign(std::istreambuf_iterator<char>(err), {});
  std::filesystem::remove(err_path);
  return outcome;
}

}  // namespace photon::testing
