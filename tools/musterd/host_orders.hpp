// Orders that a host carries out at once and answers (storage/link/host_order.hpp), for a thread that waits for that.
#pragma once

#include "actors/ports/exec_calls.hpp"
#include "storage/base/time.hpp"
#include "storage/link/host_order.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

/// What the host says. Errc::unreachable: it has no session, or lost it meanwhile; Errc::timed_out: it did not answer within
/// `limit`, and may yet do it; else the host's own error.
Result<Json> order_host(actors::ExecPort& hosts, const actors::ExecPlace& place,
                        const storage::HostOrder& order, Duration limit);

/// A snapshot as the API shows it; nothing where the host's words are none of `run` ("": of any).
std::optional<Json> snapshot_json(const Json& said, const std::string& host, const std::string& run);

}  // namespace muster::musterd
