// Token files and third-party data for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "data/token_file_writer.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {

// PREFIX.bin and .idx of the given documents.
inline std::shared_ptr<const TokenFile> WriteDocuments(const std::string& prefix,
                                                       const std::vector<std::vector<int32_t>>& documents,
                                                       int64_t vocab_size = 1000) {
  auto writer = TokenFileWriter::Create(prefix, vocab_size);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const auto& document : documents) {
    EXPECT_TRUE(writer->Append(document).ok());
    EXPECT_TRUE(writer->EndDocument().ok());
  }
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(writer->Publish().ok());
  auto file = TokenFile::Open(prefix);
  EXPECT_TRUE(file.ok()) << file.status();
  return *file;
}

// A third-party file, or an empty string where there are none.
inline std::string TestData(const std::string& name) {
  const char* root = std::getenv("PHOTON_TEST_DATA");
  return root == nullptr ? "" : std::string(root) + "/" + name;
}

}  // namespace photon::testing
