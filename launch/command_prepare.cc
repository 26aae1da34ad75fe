// photon prepare
#include <iostream>
#include <memory>

#include "absl/strings/str_format.h"
#include "data/corpus.h"
#include "data/prepare.h"
#include "launch/commands.h"

namespace photon {
namespace {

absl::Status RunPrepare(const PrepareOptions& options) {
  if (options.tokenizer.empty() && options.train_tokenizer == 0) {
    return absl::InvalidArgumentError(
        "no tokenizer: name a SentencePiece model with --tokenizer, or train one with --train-tokenizer 4096");
  }
  PHOTON_ASSIGN_OR_RETURN(const TokenFileInfo info, Prepare(options));
  std::cout << absl::StreamFormat(
      "%s.bin, %s.idx: %d documents, %d tokens of %d bytes of text; unigram entropy %.4f nats a token\n", options.out,
      options.out, info.documents, info.tokens, info.text_bytes, info.unigram_entropy);
  return absl::OkStatus();
}

}  // namespace

void AddPrepareCommand(CLI::App& app, Run* chosen) {
  const auto options = std::make_shared<PrepareOptions>();
  CLI::App& command =
      *AddCommand(app, "prepare", "Turn text into a token file", chosen, [options] { return RunPrepare(*options); });
  command.add_option("--input", options->inputs, "Files: JSON lines where the name ends in .jsonl, else plain text")
      ->required();
  command.add_option("--out", options->out, "PREFIX of the files to write: PREFIX.bin, PREFIX.idx, ..")->required();
  command.add_option("--tokenizer", options->tokenizer,
                     "A SentencePiece model (with --train-tokenizer: where to put it)");
  command
      .add_option("--train-tokenizer", options->train_tokenizer,
                  "Train a tokenizer of so many pieces on the input first")
      ->check(AtLeast(1));
  command.add_option("--document-separator", options->document_separator,
                     std::string("What lies between documents of plain text: a whole line, or ") + kBlankLine +
                         "; without it a file is a document");
  command.add_option("--threads", options->threads, "Threads; 0: one a core")
      ->check(AtLeast(0))
      ->capture_default_str();
}

}  // namespace photon
