#pragma once

namespace muster::sandbox {

/// Of sandboxd, as it tells the engine.
inline constexpr const char* kVersion = MUSTER_VERSION;

}  // namespace muster::sandbox
