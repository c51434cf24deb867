// What the facets' results make together, as the swarm file declares. Computed when asked for, from
// committed rows.
#pragma once

#include "storage/base/blobs.hpp"
#include "tools/musterd/render.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

/// Of all results of one swarm together, as text.
inline constexpr std::size_t kMaxResultBytes = 64u << 20;

/// Errc::refused beyond kMaxResultBytes. A value that can't be made has its "error"; the others are
/// there.
Result<Json> swarm_results(const View& view, const Blobs& blobs, const fbs::SwarmHeadT& head);

}  // namespace muster::musterd
