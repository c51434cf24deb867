#include "actors/ports/snapshot_port.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "actors/ports/effects_generated.h"
#include "actors/ports/work_queue.hpp"
#include "engine/core/kind.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {
namespace {

using nlohmann::json;

constexpr std::size_t kQueue = 4'096;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<fbs::SnapshotEntryT> parse_entry(const std::string& line, std::uint32_t number) {
  const json object = json::parse(line, nullptr, false);
  fbs::SnapshotEntryT entry;
  if (object.is_object()) {
    entry.repository = text_of(object, "repository");
    entry.url = text_of(object, "url");
    entry.canonical_url = text_of(object, "canonical_url");
    entry.base_branch = text_of(object, "base_branch");
    const auto labels = object.find("labels");
    entry.labels_json = labels != object.end() && labels->is_object() ? labels->dump() : "{}";
  }
  if (entry.repository.empty() || entry.url.empty())
    return fail(Errc::corrupt, "line " + std::to_string(number + 1) +
                                   " of the repository snapshot names no repository");
  return entry;
}

/// One line without its end; false at the end of the file, an error when it is too long.
Result<bool> next_line(std::istream& file, std::string& line, std::uint32_t number) {
  line.clear();
  for (int c = file.get(); c != std::istream::traits_type::eof(); c = file.get()) {
    if (c == '\n') return true;
    if (line.size() == SnapshotPages::kMaxLine)
      return fail(Errc::corrupt,
                  "line " + std::to_string(number + 1) + " of the repository snapshot is too long");
    line += static_cast<char>(c);
  }
  return !line.empty();
}

class SnapshotPort final : public engine::EffectPort {
 public:
  explicit SnapshotPort(Blobs blobs) : pages_(std::move(blobs)), queue_(1, kQueue) {}

  void perform(const engine::PendingEffect& pending, engine::EffectDone done) override {
    auto effect = engine::decode_table<fbs::EffectT>(pending.bytes);
    if (!effect || effect->body.AsReadSnapshot() == nullptr) return;  // Ends as unknown.
    // A full queue leaves it to its deadline: the fleet asks again.
    (void)queue_.offer([this, read = *effect->body.AsReadSnapshot(), done = std::move(done)] {
      done(page(read));
    });
  }

 private:
  engine::Payload page(const fbs::ReadSnapshotT& read) {
    fbs::SnapshotPageT message;
    message.first = read.first;
    auto entries = pages_.read(read.digest, read.first, read.count);
    if (!entries) message.error = entries.error().message;
    if (entries)
      for (auto& entry : *entries)
        message.entries.push_back(std::make_unique<fbs::SnapshotEntryT>(std::move(entry)));
    return engine::MessageSet<fbs::FleetBodyUnionTraits, fbs::SnapshotPageT>::encode(message);
  }

  SnapshotPages pages_;
  WorkQueue queue_;
};

}  // namespace

SnapshotPages::Known& SnapshotPages::known(const std::string& digest) {
  auto found = std::find_if(known_.begin(), known_.end(),
                            [&](const Known& one) { return one.digest == digest; });
  if (found != known_.end()) {
    std::rotate(found, found + 1, known_.end());
    return known_.back();
  }
  if (known_.size() == kMaxSnapshots) known_.erase(known_.begin());
  return known_.emplace_back(Known{digest, {0}});
}

std::uint64_t SnapshotPages::nearest(const std::string& digest, std::uint32_t first,
                                     std::uint32_t& line) {
  const std::lock_guard lock(mutex_);
  const auto& offsets = known(digest).offsets;
  const std::size_t index = std::min<std::size_t>(first / kStride, offsets.size() - 1);
  line = static_cast<std::uint32_t>(index) * kStride;
  return offsets[index];
}

void SnapshotPages::learn(const std::string& digest, std::uint32_t line, std::uint64_t offset) {
  if (line % kStride != 0) return;
  const std::lock_guard lock(mutex_);
  auto& offsets = known(digest).offsets;
  if (line / kStride == offsets.size() && offsets.size() < kMaxOffsets) offsets.push_back(offset);
}

Result<std::vector<fbs::SnapshotEntryT>> SnapshotPages::read(const std::string& digest,
                                                             std::uint32_t first,
                                                             std::uint32_t count) {
  if (!is_sha256_hex(digest)) return fail(Errc::invalid, "the snapshot has no digest");
  std::ifstream file(blobs_.path(digest), std::ios::binary);
  if (!file) return fail(Errc::not_found, "the repository snapshot " + digest + " is missing");
  std::uint32_t number = 0;
  std::uint64_t offset = nearest(digest, first, number);
  file.seekg(static_cast<std::streamoff>(offset));

  const std::uint32_t wanted = std::min(count, kMaxPage);
  std::vector<fbs::SnapshotEntryT> entries;
  std::string line;
  while (entries.size() < wanted) {
    const auto more = next_line(file, line, number);
    if (!more) return tl::unexpected<Error>(more.error());
    if (!*more) break;
    if (number >= first) {
      auto entry = parse_entry(line, number);
      if (!entry) return tl::unexpected<Error>(entry.error());
      entries.push_back(std::move(*entry));
    }
    offset += line.size() + 1;
    learn(digest, ++number, offset);
  }
  return entries;
}

std::unique_ptr<engine::EffectPort> make_snapshot_port(Blobs blobs) {
  return std::make_unique<SnapshotPort>(std::move(blobs));
}

}  // namespace muster::actors
