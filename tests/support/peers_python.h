// The Python that holds the libraries which tests compare with: PHOTON_PEERS_PYTHON, else python3.
#pragma once

#include <cstdlib>
#include <string>

namespace photon::testing {

inline std::string PeersPython() {
  const char* chosen = std::getenv("PHOTON_PEERS_PYTHON");
  return chosen != nullptr ? chosen : "python3";
}

inline bool PeersPythonHas(const std::string& module) {
  return std::system((PeersPython() + " -c 'import " + module + "' >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace photon::testing
