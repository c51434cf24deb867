// muster-init in its two other roles, for one command of `muster run exec`:
//
//   muster-init enter MEMORY_BYTES CPU_SECONDS DIRECTORY COMMAND…     inside: the runtime starts it
//   in the sandbox muster-init parent PID_FILE RUNTIME…                              outside:
//   sandboxd starts it
//
// `enter` takes its limits, goes to the directory and becomes the command. The change of directory
// is made here, inside, because a runtime that makes it can be led out of the sandbox by a link of
// the agent's (CVE-2024-21626).
//
// `parent` runs the runtime's `exec --detach` and becomes the command's parent. Descriptor 3 is its
// tie to sandboxd: each byte is a signal for the command's process group, its end (also when
// sandboxd was killed) kills the command. On descriptor 4 it says "started\n", then "exit N\n" or
// "signal N\n"; or "failed\n" when nothing was started.
#pragma once

namespace muster::sandbox::init {

constexpr int kTieFd = 3;
constexpr int kStatusFd = 4;

int enter(int argc, char** argv);
int parent(int argc, char** argv);

}  // namespace muster::sandbox::init
