#include "tools/musterd/offline.hpp"

#include "engine/core/archive.hpp"
#include "engine/core/shard.hpp"
#include "engine/runtime/views.hpp"
#include "storage/journal/rocksdb_journal.hpp"

namespace muster::musterd {
namespace {

Error refusal_of_writes() {
  return {Errc::refused, "this installation is not running"};
}

class Offline final : public engine::Engine {
 public:
  explicit Offline(std::vector<std::unique_ptr<storage::Journal>> shards)
      : shards_(std::move(shards)) {}

  void call(engine::Call, engine::CallDone done) override {
    done(tl::unexpected(refusal_of_writes()));
  }
  void deliver(engine::ChannelMessage, engine::ChannelDone done) override {
    done(tl::unexpected(refusal_of_writes()));
  }
  Result<std::uint64_t> channel_mark(std::string_view) const override {
    return tl::unexpected(refusal_of_writes());
  }
  Result<void> tell(engine::ActorId, engine::Payload, engine::Lane) override {
    return tl::unexpected(refusal_of_writes());
  }
  Result<std::optional<std::string>> head(const engine::ActorId& actor) const override {
    return engine::read_head(journal_of(actor), actor);
  }
  Result<std::optional<std::string>> row(const engine::ActorId& actor,
                                         std::string_view key) const override {
    return engine::find_row(journal_of(actor), actor, key);
  }
  Result<void> rows(const engine::ActorId& actor, std::string_view lower, std::string_view upper,
                    const engine::EachRow& each) const override {
    return engine::find_rows(journal_of(actor), actor, lower, upper, each);
  }
  Result<void> list(std::string_view index, std::string_view lower, std::string_view upper,
                    const engine::EachEntry& each) const override {
    std::vector<const storage::Journal*> all;
    for (const auto& shard : shards_) all.push_back(shard.get());
    return engine::read_index(all, index, lower, upper, each);
  }
  std::shared_ptr<void> subscribe(
      std::function<void(const std::vector<engine::Change>&)>) override {
    return nullptr;  // Nothing changes.
  }
  Instant now() const override { return wall_clock_now(); }
  std::uint32_t generation() const override { return 0; }
  std::string trouble() const override { return refusal_of_writes().message; }

 private:
  [[nodiscard]] const storage::Journal& journal_of(const engine::ActorId& actor) const {
    return *shards_[engine::Shard::shard_of(actor, static_cast<std::uint32_t>(shards_.size()))];
  }

  std::vector<std::unique_ptr<storage::Journal>> shards_;
};

}  // namespace

namespace {

Result<std::vector<std::unique_ptr<storage::Journal>>> open_shards(
    const std::filesystem::path& directory) {
  std::vector<std::unique_ptr<storage::Journal>> shards;
  for (;;) {
    const auto path = directory / ("shard-" + std::to_string(shards.size()));
    if (!std::filesystem::is_directory(path)) break;
    auto journal = storage::open_rocksdb_journal(path);
    if (!journal) return tl::unexpected<Error>(journal.error());
    shards.push_back(std::move(*journal));
  }
  if (shards.empty()) return fail(Errc::not_found, "no journal below " + directory.string());
  return shards;
}

}  // namespace

Result<std::unique_ptr<engine::Engine>> open_offline(const std::filesystem::path& directory) {
  auto shards = open_shards(directory);
  if (!shards) return tl::unexpected<Error>(shards.error());
  return std::make_unique<Offline>(std::move(*shards));
}

Result<void> verify_offline(const std::filesystem::path& directory) {
  const auto shards = open_shards(directory);
  if (!shards) return tl::unexpected<Error>(shards.error());
  for (std::size_t i = 0; i < shards->size(); ++i)
    if (auto sound = (*shards)[i]->verify(); !sound)
      return fail(sound.error(), "shard " + std::to_string(i));
  return {};
}

}  // namespace muster::musterd
