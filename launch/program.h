// `photon` as a function: parses the command line, runs the subcommand, reports errors, returns the exit code.
#pragma once

namespace photon {

int RunProgram(int argc, char** argv);

}  // namespace photon
