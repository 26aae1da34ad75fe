#include "launch/program.h"

int main(int argc, char** argv) { return photon::RunProgram(argc, argv); }
