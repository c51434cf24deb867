#include "bench/durable/cpu.hpp"

#include <filesystem>
#include <fstream>
#include <string>

namespace muster::bench {

CpuTimes cpu_times() {
  CpuTimes times;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(thread.path() / "comm") >> std::ws, name);
    double nanoseconds = 0;
    std::ifstream(thread.path() / "schedstat") >> nanoseconds;
    double& sum = name.starts_with("rocksdb")           ? times.background
                  : name.starts_with("caf.multiplexer") ? times.stepping
                  : name.starts_with("caf.worker")      ? times.stepping
                  : name.starts_with("caf.actor")       ? times.writing
                                                        : times.rest;
    sum += nanoseconds / 1e9;
  }
  return times;
}

}  // namespace muster::bench
