// Files and directories as a tar stream, both ways, for `muster run cp`.
//
// What comes out of a sandbox is hostile. TarUnpacker writes only what was asked for, below one directory: plain files,
// directories, and symbolic links that stay inside of what is copied. An absolute path, "..", a name that was not asked
// for, a path through a link or more than the limits is the end of it; devices, pipes, sockets and links that lead out
// are left out, with a warning. No owner, no setuid bit and no attribute is taken. libarchive writes the files, and
// refuses by itself what leads out, too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::cli {

struct CopyLimits {
  std::uint64_t bytes = 8ull << 30;  ///< Of all files together.
  std::uint64_t entries = 500'000;
};

struct Copied {
  std::uint64_t files = 0;  ///< With directories and links.
  std::uint64_t bytes = 0;
  std::vector<std::string> warnings;  ///< At most kMaxCopyWarnings.
};
inline constexpr std::size_t kMaxCopyWarnings = 20;

/// Where the top of the stream goes: `asked` is its name there ("." for what lies in a directory), `name` its name
/// below `directory`, which exists (empty, with ".": straight into it).
struct CopyTarget {
  std::filesystem::path directory;
  std::string asked, name;
};

/// The next bytes of the stream; empty at its end.
using ReadBytes = std::function<Result<std::string>()>;
/// False when nothing more is wanted.
using WriteBytes = std::function<bool(std::string)>;

/// What was written before an error stays.
Result<Copied> unpack_tar(const ReadBytes& read, const CopyTarget& to, const CopyLimits& limits = {});

/// `source` as `name` ("." : what lies in it), whole. Symbolic links travel as they are. Errc::unreachable: `write`
/// wanted no more.
Result<Copied> pack_tar(const std::filesystem::path& source, const std::string& name, const WriteBytes& write,
                        const CopyLimits& limits = {});

}  // namespace muster::cli
