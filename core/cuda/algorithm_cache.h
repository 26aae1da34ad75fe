// A file of algorithms that were chosen by timing: $PHOTON_CACHE (else $XDG_CACHE_HOME/photon, else ~/.cache/photon),
// one file for each chip, driver and version of the library. Several ranks may write; each write replaces the file as a
// whole and keeps what others have put there. A file that can't be read is as good as none.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace photon::cuda {

class AlgorithmCache {
 public:
  // What the library calls an algorithm; means something to one version of it.
  using Algorithm = std::array<uint64_t, 8>;

  // `folder` empty: nothing is read or kept. `name`: of chip, driver and library.
  AlgorithmCache(const std::string& folder, const std::string& name);

  // The folder that the environment names; empty where it names none.
  static std::string Folder();

  std::optional<Algorithm> Find(const std::string& shape) const;
  void Add(const std::string& shape, const Algorithm& algorithm);

 private:
  void Read();
  void Write();

  std::string path_;
  std::map<std::string, Algorithm> algorithms_;
};

}  // namespace photon::cuda
