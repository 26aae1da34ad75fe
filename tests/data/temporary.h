// A folder for one test's files, and small ways to fill it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "data/token_file.h"

namespace photon::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "photon_data_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return *this / name;
  }
  std::string Read(const std::string& name) const {
    std::ostringstream bytes;
    bytes << std::ifstream(path_ / name, std::ios::binary).rdbuf();
    return bytes.str();
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename());
    return names;
  }

 private:
  std::filesystem::path path_;
};

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
