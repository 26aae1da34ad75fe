#include "launch/program.h"
#include "launch/threads.h"

int main(int argc, char** argv) {
  photon::BoundSpinning(argv);
  return photon::RunProgram(argc, argv);
}
