// What the API and the commands have to say to the audit log.
#pragma once

#include <functional>
#include <string>

namespace muster::musterd {

struct AuditNote {
  std::string who;      ///< Empty: nobody knows.
  std::string how;      ///< Identity::how
  std::string from;     ///< Peer::address
  std::string action;   ///< "POST /v1/fleets/{name}/pause", "token.create"
  std::string target;   ///< The path, the token's id, …
  std::string outcome;  ///< A status, "refused", "done".
  std::string detail;
  std::string correlation;  ///< The Idempotency-Key, where there is one.
};

/// Must not block for long, and may be called from any thread.
using Auditor = std::function<void(AuditNote)>;

}  // namespace muster::musterd
