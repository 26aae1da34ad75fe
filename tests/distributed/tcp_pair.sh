#!/bin/bash
# Two ranks that talk over TCP, with no launcher: rank 1 is ended with rank 0.
#   tcp_pair.sh PROGRAM ARGUMENTS..
set -uo pipefail
export PHOTON_RANKS=2 PHOTON_JOB=pair PHOTON_INTERFACE=lo PHOTON_RENDEZVOUS
PHOTON_RENDEZVOUS=$(mktemp -d)
PHOTON_RANK=1 "$@" &
other=$!
trap 'kill -KILL $other 2>/dev/null; rm -rf "$PHOTON_RENDEZVOUS"' EXIT
PHOTON_RANK=0 timeout 50 "$@"
