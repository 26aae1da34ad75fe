#include "data/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <numeric>

#include "data/token_reader.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;
using namespace std::string_literals;

template <typename T>
std::string Bytes(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

std::vector<int32_t> ReadAll(const TokenFile& file) {
  std::vector<int32_t> ids(file.tokens());
  const absl::Status read = TokenReader(file).Read(0, absl::MakeSpan(ids));
  EXPECT_TRUE(read.ok()) << read;
  return ids;
}

// The document that holds a position; -1 where the index contradicts itself there.
int64_t DocumentAt(const TokenFile& file, int64_t position) {
  TokenReader reader(file);
  const auto documents = reader.FindDocuments(position, 1);
  return documents.ok() ? documents->first : -1;
}

// Written out byte by byte from Megatron's description of the format: documents {1, 2, 258} and {7}.
const std::string kGoldenIndex =
    "MMIDIDX\0\0"s
    "\1\0\0\0\0\0\0\0"s
    "\x08"s
    "\2\0\0\0\0\0\0\0"s
    "\3\0\0\0\0\0\0\0"s
    "\3\0\0\0"s
    "\1\0\0\0"s
    "\0\0\0\0\0\0\0\0"s
    "\6\0\0\0\0\0\0\0"s
    "\0\0\0\0\0\0\0\0"s
    "\1\0\0\0\0\0\0\0"s
    "\2\0\0\0\0\0\0\0"s;
const std::string kGoldenIds = "\1\0\2\0\2\1\7\0"s;

std::string Index(uint8_t type, std::vector<int32_t> lengths, std::vector<int64_t> pointers,
                  std::vector<int64_t> entries) {
  std::string bytes = "MMIDIDX\0\0"s + Bytes<uint64_t>({1}) + Bytes<uint8_t>({type}) +
                      Bytes<uint64_t>({lengths.size()}) + Bytes<uint64_t>({entries.size()});
  for (int32_t v : lengths) bytes += Bytes<int32_t>({v});
  for (int64_t v : pointers) bytes += Bytes<int64_t>({v});
  for (int64_t v : entries) bytes += Bytes<int64_t>({v});
  return bytes;
}

TEST(TokenFile, WritesMegatronsBytes) {
  TemporaryFolder folder;
  WriteDocuments(folder / "x", {{1, 2, 258}, {7}});
  EXPECT_EQ(folder.Read("x.idx"), kGoldenIndex);
  EXPECT_EQ(folder.Read("x.bin"), kGoldenIds);
  EXPECT_THAT(folder.Names(), ::testing::UnorderedElementsAre("x.bin", "x.idx")) << "nothing temporary stays";
}

TEST(TokenFile, ReadsMegatronsBytes) {
  TemporaryFolder folder;
  folder.Write("x.idx", kGoldenIndex);
  folder.Write("x.bin", kGoldenIds);
  const auto file = TokenFile::Open(folder / "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->documents(), 2);
  EXPECT_THAT(ReadAll(**file), ElementsAre(1, 2, 258, 7));
  EXPECT_EQ(*(*file)->DocumentBegin(1), 3);
  EXPECT_EQ(*(*file)->DocumentBegin(2), 4);
  EXPECT_EQ(DocumentAt(**file, 2), 0);
  EXPECT_EQ(DocumentAt(**file, 3), 1);
}

TEST(TokenFile, SixteenBitsBelow65500AndAllTheirValues) {
  TemporaryFolder folder;
  const auto small = WriteDocuments(folder / "small", {{0, 65498, 40000}}, 65499);
  EXPECT_EQ(small->type(), IdType::kU16);
  EXPECT_THAT(ReadAll(*small), ElementsAre(0, 65498, 40000));
  const auto large = WriteDocuments(folder / "large", {{0, 65500, 1 << 30}}, 65500);
  EXPECT_EQ(large->type(), IdType::kI32);
  EXPECT_THAT(ReadAll(*large), ElementsAre(0, 65500, 1 << 30));
}

TEST(TokenFile, RoundTripsManyDocumentsAcrossBuffers) {
  TemporaryFolder folder;
  std::vector<std::vector<int32_t>> documents;
  std::vector<int32_t> all;
  // More than a megabyte of lengths (4 bytes each) and ids, so that every buffer is flushed in the middle of something.
  for (int32_t d = 0; d < 300000; ++d) {
    std::vector<int32_t> document(d % 5 + 1);
    std::iota(document.begin(), document.end(), d % 60000);
    all.insert(all.end(), document.begin(), document.end());
    documents.push_back(std::move(document));
  }
  const auto file = WriteDocuments(folder / "x", documents, 65000);
  ASSERT_EQ(file->documents(), 300000);
  EXPECT_EQ(ReadAll(*file), all);
  int64_t begin = 0;
  for (int64_t d = 0; d < file->documents(); ++d) {
    ASSERT_EQ(*file->DocumentBegin(d), begin);
    ASSERT_EQ(DocumentAt(*file, begin), d);
    begin += static_cast<int64_t>(documents[d].size());
  }
}

TEST(TokenFile, DocumentsOfSeveralSequencesAndEmptyOnes) {
  TemporaryFolder folder;
  // Sequences of 2, 0, 3, 1 ids; documents: {0, 1}, {}, {2, 3}.
  folder.Write("x.idx", Index(4, {2, 0, 3, 1}, {0, 8, 8, 20}, {0, 2, 2, 4}));
  folder.Write("x.bin", Bytes<int32_t>({1, 2, 3, 4, 5, 6}));
  const auto file = TokenFile::Open(folder / "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->documents(), 3);
  EXPECT_EQ(*(*file)->DocumentBegin(1), 2);
  EXPECT_EQ(DocumentAt(**file, 1), 0);
  EXPECT_EQ(DocumentAt(**file, 2), 2) << "an empty document holds no position";
  TokenReader reader(**file);
  EXPECT_THAT(reader.FindDocuments(0, 6)->ends, ElementsAre(2, 2, 6));
  EXPECT_THAT(reader.FindDocuments(1, 4)->ends, ElementsAre(2, 2, 5)) << "cut at the end";
  EXPECT_THAT(reader.FindDocuments(4, 1)->ends, ElementsAre(5));
}

TEST(TokenFile, ReadsEveryIntegerType) {
  TemporaryFolder folder;
  const std::pair<int, std::string> cases[] = {{1, Bytes<uint8_t>({1, 200})}, {2, Bytes<int8_t>({1, -56})},
                                               {3, Bytes<int16_t>({1, 200})}, {4, Bytes<int32_t>({1, 200})},
                                               {5, Bytes<int64_t>({1, 200})}, {8, Bytes<uint16_t>({1, 200})}};
  for (const auto& [type, bytes] : cases) {
    folder.Write("x.idx", Index(type, {2}, {0}, {0, 1}));
    folder.Write("x.bin", bytes);
    const auto file = TokenFile::Open(folder / "x");
    ASSERT_TRUE(file.ok()) << type << file.status();
    EXPECT_THAT(ReadAll(**file), ElementsAre(1, type == 2 ? -56 : 200)) << type;
  }
  folder.Write("x.idx", Index(5, {2}, {0}, {0, 1}));
  folder.Write("x.bin", Bytes<int64_t>({int64_t{1} << 32, int64_t{-1} << 40}));
  EXPECT_THAT(ReadAll(**TokenFile::Open(folder / "x")), ElementsAre(-1, -1)) << "never cut to 32 bits";
}

TEST(TokenFile, PositionsBeyondFourGigabytes) {
  TemporaryFolder folder;
  // Documents of 2^30 ids at 4 bytes: the third begins at byte 2^33. The file is sparse: it takes no room.
  constexpr int32_t kLength = 1 << 30;
  constexpr int64_t kBytes = int64_t{4} * kLength;
  folder.Write("x.idx", Index(4, {kLength, kLength, 2}, {0, kBytes, 2 * kBytes}, {0, 1, 2, 3}));
  const std::string bin = folder.Write("x.bin", "");
  ASSERT_EQ(truncate(bin.c_str(), 2 * kBytes + 8), 0);
  {
    std::fstream file(bin, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(2 * kBytes - 4);
    file << Bytes<int32_t>({11, 12, 13});
  }
  const auto file = TokenFile::Open(folder / "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tokens(), int64_t{2} * kLength + 2);
  EXPECT_EQ(DocumentAt(**file, int64_t{2} * kLength), 2);
  std::vector<int32_t> ids(3);
  ASSERT_TRUE(TokenReader(**file).Read(int64_t{2} * kLength - 1, absl::MakeSpan(ids)).ok());
  EXPECT_THAT(ids, ElementsAre(11, 12, 13));
}

TEST(TokenFile, RefusesBrokenFiles) {
  TemporaryFolder folder;
  const auto error = [&](const std::string& index, const std::string& ids) {
    folder.Write("x.idx", index);
    folder.Write("x.bin", ids);
    const auto file = TokenFile::Open(folder / "x");
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(file.status().message());
  };
  EXPECT_THAT(error("", kGoldenIds), HasSubstr("not a Megatron index"));
  EXPECT_THAT(error("TNTIDX\0\0"s + kGoldenIndex, kGoldenIds), HasSubstr("x.idx: not a Megatron index"));
  for (size_t size = 9; size < kGoldenIndex.size(); ++size) {  // cut anywhere
    EXPECT_THAT(error(kGoldenIndex.substr(0, size), kGoldenIds), HasSubstr("x.idx")) << size;
  }
  EXPECT_THAT(error(kGoldenIndex + "x", kGoldenIds), HasSubstr("don't fit"));
  EXPECT_THAT(error(kGoldenIndex, kGoldenIds.substr(0, 7)), HasSubstr("7 bytes, but the index speaks of 8"));
  EXPECT_THAT(error(kGoldenIndex, kGoldenIds + "\0\0"s), HasSubstr("10 bytes"));
  std::string version = kGoldenIndex;
  version[9] = 2;
  EXPECT_THAT(error(version, kGoldenIds), HasSubstr("version 2"));
  EXPECT_THAT(error(Index(7, {2}, {0}, {0, 1}), "12345678"), HasSubstr("type code 7"));
  EXPECT_THAT(error(Index(8, {}, {}, {0}), ""), HasSubstr("holds no documents"));
  EXPECT_THAT(error(Index(8, {0}, {0}, {0, 1}), ""), HasSubstr("holds no tokens"));
  EXPECT_THAT(error(Index(8, {2}, {0}, {0, 2}), "1234"), HasSubstr("don't cover"));
  std::string huge = kGoldenIndex;
  huge[25] = '\xff';  // sequences near 2^64: no overflow in the size check
  EXPECT_THAT(error(huge, kGoldenIds), HasSubstr("don't fit"));
}

TEST(TokenFile, MissingFilesAreNamed) {
  TemporaryFolder folder;
  EXPECT_THAT(TokenFile::Open(folder / "none").status().message(), HasSubstr("none.idx"));
  EXPECT_TRUE(absl::IsNotFound(TokenFile::Open(folder / "none").status()));
  folder.Write("x.idx", kGoldenIndex);
  EXPECT_THAT(TokenFile::Open(folder / "x").status().message(), HasSubstr("x.bin"));
}

TEST(TokenFile, SequencesThatDontLieSideBySideAreSeenAtTheirDocument) {
  TemporaryFolder folder;
  folder.Write("x.idx", Index(8, {2, 1, 1}, {0, 2, 6}, {0, 1, 2, 3}));  // the second begins inside the first
  folder.Write("x.bin", "12345678");
  const auto file = TokenFile::Open(folder / "x");
  ASSERT_TRUE(file.ok()) << file.status();
  TokenReader reader(**file);
  EXPECT_EQ(reader.FindDocuments(0, 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(reader.FindDocuments(0, 1).status().message(), HasSubstr("x.idx: document 0"));
  EXPECT_THAT(reader.FindDocuments(1, 1).status().message(), HasSubstr("document 1"));
  EXPECT_THAT(reader.FindDocuments(3, 1)->ends, ElementsAre(4));
}

TEST(TokenFileWriter, LeavesNothingWithoutPublish) {
  TemporaryFolder folder;
  WriteDocuments(folder / "x", {{1, 2}});
  {
    auto writer = TokenFileWriter::Create(folder / "x", 100);
    ASSERT_TRUE(writer->Append({5, 6, 7}).ok());
    ASSERT_TRUE(writer->EndDocument().ok());
    ASSERT_TRUE(writer->Finish().ok());
  }
  EXPECT_THAT(ReadAll(**TokenFile::Open(folder / "x")), ElementsAre(1, 2)) << "the old file stays";
  EXPECT_EQ(folder.Names().size(), 2u);
}

TEST(TokenFileWriter, RefusesASecondWriterAndOverwritesWhatAKilledOneLeft) {
  TemporaryFolder folder;
  folder.Write("x.bin.tmp", "left by a killed run, longer than what follows");
  {
    auto first = TokenFileWriter::Create(folder / "x", 100);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(TokenFileWriter::Create(folder / "x", 100).status().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_THAT(ReadAll(*WriteDocuments(folder / "x", {{3}})), ElementsAre(3));
  EXPECT_TRUE(absl::IsNotFound(TokenFileWriter::Create(folder / "no/such/x", 100).status()));
}

}  // namespace
}  // namespace photon
