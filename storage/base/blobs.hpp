// Content by digest on disk: fleet files, repository snapshots, agent bundles, packs. Written whole, synced,
// then renamed to its SHA-256, so what is found is complete. Thread-safe, also between objects and processes
// on one directory. Digests come from outside and are checked before they touch a path.
//
//   <directory>/<digest, first 2>/<digest>            complete
//   <directory>/partial/<digest>                      parts that append() has taken so far
//   <directory>/partial/<digest>.tmp.<pid>.<n>        put() at work
//   <directory>/partial/<digest>.aside                remove_older() at work; clean() puts it back
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster {

class Blobs {
 public:
  explicit Blobs(std::filesystem::path directory, std::uint64_t max_bytes = 64u << 20)
      : directory_(std::move(directory)), max_bytes_(max_bytes) {}

  /// Durable when it returns. Errc::invalid when the bytes don't have that digest or are too many.
  Result<void> put(std::string_view digest, std::string_view bytes);
  [[nodiscard]] bool has(std::string_view digest) const;
  /// The same, for who is going to name it: it counts as having arrived now, and so remove_older() leaves it alone.
  [[nodiscard]] bool touch(std::string_view digest) const;
  /// Where the complete blob lies or would lie. Of what is no digest: a path where nothing ever lies.
  [[nodiscard]] std::filesystem::path path(std::string_view digest) const;
  /// Errc::not_found when there is none, Errc::corrupt when the disk changed it.
  [[nodiscard]] Result<std::string> get(std::string_view digest) const;

  /// Appends a part that arrives in order; the last one checks the digest and makes it durable. Offset 0
  /// begins anew; another offset than the present length is Errc::conflict. True when the blob is complete,
  /// also when it was so before. Bytes that don't have the digest are thrown away (Errc::invalid).
  Result<bool> append(std::string_view digest, std::uint64_t offset, std::uint64_t total,
                      std::string_view bytes);
  /// Also what append() has so far. Removing what isn't there is done already.
  Result<void> remove(std::string_view digest);
  /// Unless it arrived, or was touched, at `before` or later, also meanwhile: whoever was told that it is there keeps
  /// it. True when it went.
  Result<bool> remove_older(std::string_view digest, Instant before);

  /// Complete ones in no order, with the time at which each last arrived. What comes or goes
  /// meanwhile may be told.
  Result<void> each(
      const std::function<void(const std::string& digest, Instant arrived)>& each) const;

  /// Removes what writers that died left behind: unfinished files unchanged for at least `older_than`.
  /// Returns how many. With no age only at the start, before anybody writes.
  Result<std::size_t> clean(Duration older_than = Duration{0});

 private:
  [[nodiscard]] std::filesystem::path partial(std::string_view digest) const;
  [[nodiscard]] Result<void> check(std::string_view digest, std::uint64_t size) const;
  Result<void> publish(const std::filesystem::path& from, std::string_view digest) const;

  std::filesystem::path directory_;
  std::uint64_t max_bytes_;
};

}  // namespace muster
