// Sandboxes made ahead of their attempts: created, started, the workspace checked out, muster-init waiting. What an attempt
// brings of its own (prompt, variables, secrets, agent, limits, branch) reaches one only when it is handed over, to that
// attempt alone; what was handed over belongs to the attempt, is torn down with it and never comes back.
//
//   make_warm ► waits (OUT/ready) ► hand_over ► let go, the attempt's          remove_warm at any time before
//
// One that waits has the name of no attempt ("warm…-1") and no record: whoever finds it after a crash removes it. At the
// hand-over its directories are renamed to the attempt's; its container keeps the name (Places::container). The rename of
// its run-time directory decides: before it the sandbox is nobody's, after it the attempt has one, which a restarted
// daemon lets go on. Any thread; calls for one sandbox must not overlap.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "sandboxd/plan.hpp"
#include "storage/base/error.hpp"

namespace muster::sandbox {

class Host;
struct Started;

struct WarmSettings {
  unsigned max = 0;              ///< At a time on this host; 0: none.
  unsigned per_environment = 2;  ///< Of one repository, branch and environment.
  unsigned idle_minutes = 10;    ///< Without a placement there: then they go.
};

struct WarmSandbox {
  std::string id;                ///< The container's name.
  unsigned slot = 0;             ///< Its user ids.
  std::string key;               ///< Of warm_key: whose attempts it is for.
  std::string prebuild;          ///< Key of the layer under its workspace; empty: none.
  std::filesystem::path layer;
};

/// A new name for one.
std::string new_warm_id();

/// Attempts with the same key may take each other's warm sandboxes: same repository, branch, image, network and mounts.
/// Empty: for this one none can be made ahead (disk_limit: loop, context files, other repositories).
Result<std::string> warm_key(Host& host, const wire::SandboxSpecT& spec, const Started& started);

/// Makes one like that of `started`, whose attempt had `spec`. Blocks until it waits, or until `give_up`. On failure what
/// was made is still there: remove_warm().
Result<WarmSandbox> make_warm(Host& host, const wire::SandboxSpecT& spec, const Started& started, const std::string& id,
                              unsigned slot, const std::function<bool()>& give_up);

/// Everything of the attempt goes in; its first command begins when the sandbox is let go (HostOps::let_go). `facts` are the
/// attempt's, with the sandbox's user ids and layer. On failure both names are to be torn down.
Result<void> hand_over(Host& host, const WarmSandbox& warm, const wire::SandboxSpecT& spec, const Started& started,
                       PlanFacts facts);

/// Whatever there is of it.
void remove_warm(Host& host, const std::string& id);

}  // namespace muster::sandbox
