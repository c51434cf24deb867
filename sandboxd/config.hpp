// /etc/muster/sandboxd.yaml, and what the command line says over it.
#pragma once

#include <map>
#include <string>

#include "sandboxd/attempt.hpp"
#include "storage/link/link.hpp"

namespace muster::sandbox {

struct DaemonConfig {
  HostConfig host;
  std::string name;                 ///< As in the certificate.
  std::string engine = "127.0.0.1:7411";
  storage::TlsFiles tls;
  unsigned slots = 0;               ///< 0: twice the processors.
  std::map<std::string, std::string> labels;
};

/// A missing file is all defaults. Errc::invalid names line and key of what is wrong; several at once.
Result<DaemonConfig> read_config(const std::filesystem::path& file, DaemonConfig defaults);

}  // namespace muster::sandbox
