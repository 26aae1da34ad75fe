// photon prepare
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/human.h"
#include "data/corpus.h"
#include "data/prepare.h"
#include "launch/commands.h"

namespace photon {
namespace {

void PrintRow(absl::string_view name, const SourceCount& count, int64_t all_tokens, int width) {
  std::cout << absl::StreamFormat("%-*s %14s %17s %10s %10.1f %6.2f %%\n", width, name, HumanCount(count.documents),
                                  HumanCount(count.tokens), HumanBytes(count.bytes),
                                  static_cast<double>(count.tokens) / std::max<int64_t>(count.documents, 1),
                                  100.0 * count.tokens / std::max<int64_t>(all_tokens, 1));
}

// By source, the one with the most tokens first, and all together.
void PrintReport(const TokenFileInfo& info) {
  std::vector<std::pair<std::string, SourceCount>> rows(info.sources.begin(), info.sources.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second.tokens > b.second.tokens; });
  size_t width = 6;
  for (const auto& [name, count] : rows) width = std::max(width, name.size());
  std::cout << absl::StreamFormat("%-*s %14s %17s %10s %10s %8s\n", width, "source", "documents", "tokens", "text",
                                  "tokens/doc", "share");
  for (const auto& [name, count] : rows) PrintRow(name, count, info.tokens, static_cast<int>(width));
  SourceCount all;
  all.documents = info.documents;
  all.tokens = info.tokens;
  all.bytes = info.text_bytes;
  PrintRow("all", all, info.tokens, static_cast<int>(width));
}

void PrintResult(const PrepareOptions& options, const TokenFileInfo& info) {
  if (info.documents == 1 && !options.document_separator.empty()) {
    std::cerr << absl::StreamFormat("the separator \"%s\" was never found: all text is one document\n",
                                    options.document_separator);
  }
  if (!info.sources.empty()) PrintReport(info);
  if (info.duplicates > 0) std::cout << absl::StreamFormat("%d duplicate documents left out\n", info.duplicates);
  if (info.skipped_lines + info.replaced_lines > 0) {
    std::cout << absl::StreamFormat("%d bad lines skipped, %d mended: %s.rejects.jsonl lists them\n",
                                    info.skipped_lines, info.replaced_lines, options.out);
  }
  const std::string files =
      info.split() ? absl::StrFormat("%s.json, a token file for each of %d sources", options.out, info.sources.size())
                   : absl::StrFormat("%s.bin, %s.idx", options.out, options.out);
  std::cout << absl::StreamFormat(
      "%s: %d documents, %d tokens of %d bytes of text; unigram entropy %.4f nats a token\n", files, info.documents,
      info.tokens, info.text_bytes, info.unigram_entropy);
}

absl::Status RunPrepare(const PrepareOptions& options) {
  if (options.tokenizer.empty() && options.train_tokenizer == 0) {
    return absl::InvalidArgumentError(
        "no tokenizer: name a SentencePiece model or a tokenizer.json with --tokenizer, or train one with "
        "--train-tokenizer 4096");
  }
  PHOTON_ASSIGN_OR_RETURN(const TokenFileInfo info, Prepare(options));
  PrintResult(options, info);
  return absl::OkStatus();
}

void AddWhatToRead(CLI::App& command, PrepareOptions& options) {
  command
      .add_option("--input", options.inputs,
                  "Files and patterns ('data/*.jsonl.zst'), also .gz and .zst: JSON lines where the name says .jsonl, "
                  "else plain text")
      ->required();
  command.add_option("--document-separator", options.document_separator,
                     std::string("What lies between documents of plain text: a whole line, or ") + kBlankLine +
                         "; without it a file is a document");
  command.add_option("--text-key", options.text_key, "JSON lines: the key of the text")->capture_default_str();
  command
      .add_option("--source-key", options.source_key, "JSON lines: the key of the name of the set a document is from")
      ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--on-error",
          [&options](const std::string& name) {
            options.on_error = name == "skip" ? OnError::kSkip : name == "replace" ? OnError::kReplace : OnError::kFail;
          },
          "A line that is no UTF-8, no JSON or has no text: fail, skip it, or replace what is no UTF-8 by "
          "U+FFFD and skip what is broken otherwise")
      ->check(CLI::IsMember({"fail", "skip", "replace"}))
      ->default_str("fail");
  command.add_option("--max-skipped", options.max_skipped, "Fail where more than this share of the lines is skipped")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_flag("--drop-duplicates", options.drop_duplicates, "Leave out documents whose text was there before");
}

void AddWhatToWrite(CLI::App& command, PrepareOptions& options) {
  command.add_option("--out", options.out, "PREFIX of the files to write: PREFIX.bin, PREFIX.idx, ..")->required();
  command.add_option("--tokenizer", options.tokenizer,
                     "A SentencePiece model or a tokenizer.json (with --train-tokenizer: where to put the model)");
  command
      .add_option("--train-tokenizer", options.train_tokenizer,
                  "Train a tokenizer of so many pieces on the input first")
      ->check(AtLeast(1));
  command.add_flag("--split-by-source", options.split_by_source, "A token file of its own for each source");
  command.add_flag("--fresh", options.fresh,
                   "Replace what stands under PREFIX; start over where an unfinished call left PREFIX.partial");
  command.add_option("--threads", options.threads, "Threads; 0: one a core")->check(AtLeast(0))->capture_default_str();
}

}  // namespace

void AddPrepareCommand(CLI::App& app, Run* chosen) {
  const auto options = std::make_shared<PrepareOptions>();
  CLI::App& command =
      *AddCommand(app, "prepare", "Turn text into token files", chosen, [options] { return RunPrepare(*options); });
  AddWhatToRead(command, *options);
  AddWhatToWrite(command, *options);
}

}  // namespace photon
