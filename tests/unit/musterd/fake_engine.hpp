// An engine that holds what a test puts there, and records what it is told.
#pragma once

#include <map>

#include "actors/indexes.hpp"
#include "engine/core/engine.hpp"
#include "engine/core/kind.hpp"
#include "engine/core/revision.hpp"

namespace muster::musterd {

class FakeEngine final : public engine::Engine {
 public:
  template <class T>
  void put_head(const std::string& kind, const std::string& key, const T& head) {
    heads[{"default", kind, key}] = engine::encode_table(head);
  }
  template <class T>
  void put_row(const std::string& kind, const std::string& key, const std::string& row,
               const T& table) {
    put_text(kind, key, row, engine::encode_table(table));
  }
  void put_text(const std::string& kind, const std::string& key, const std::string& row,
                std::string bytes) {
    all_rows[{"default", kind, key}][row] = std::move(bytes);
  }
  void put_index(std::string_view index, const std::string& key, const std::string& value) {
    indexes[std::string(index)][key] = value;
  }

  void call(engine::Call made, engine::CallDone done) override {
    if (const auto outdated = check(made)) {
      done(fail(*outdated->error, outdated->body));
      return;
    }
    calls.push_back(std::move(made));
    done(reply);
  }
  void deliver(engine::ChannelMessage, engine::ChannelDone) override {}
  Result<std::uint64_t> channel_mark(std::string_view) const override { return 0; }
  Result<void> tell(engine::ActorId, engine::Payload, engine::Lane) override { return {}; }
  Result<std::optional<std::string>> head(const engine::ActorId& actor) const override {
    const auto found = heads.find(actor);
    if (found == heads.end()) return std::nullopt;
    return found->second;
  }
  Result<std::optional<std::string>> row(const engine::ActorId& actor,
                                         std::string_view key) const override {
    const auto of_actor = all_rows.find(actor);
    if (of_actor == all_rows.end()) return std::nullopt;
    const auto found = of_actor->second.find(std::string(key));
    if (found == of_actor->second.end()) return std::nullopt;
    return found->second;
  }
  Result<void> rows(
      const engine::ActorId& actor, std::string_view lower, std::string_view upper,
      const std::function<bool(std::string_view, std::string_view)>& each) const override {
    const auto of_actor = all_rows.find(actor);
    if (of_actor == all_rows.end()) return {};
    for (const auto& [key, value] : of_actor->second)
      if (key >= lower && key < upper && !each(key, value)) break;
    return {};
  }
  Result<void> list(std::string_view index, std::string_view lower, std::string_view upper,
                    const std::function<bool(std::string_view, const engine::ActorId&,
                                             std::string_view)>& each) const override {
    const auto found = indexes.find(std::string(index));
    if (found == indexes.end()) return {};
    for (const auto& [key, value] : found->second)
      if (key >= lower && key < upper && !each(key, {}, value)) break;
    return {};
  }
  std::shared_ptr<void> subscribe(
      std::function<void(const std::vector<engine::Change>&)> each) override {
    subscriber = std::move(each);
    auto handle = std::make_shared<int>(0);
    subscribed = handle;
    return handle;
  }
  Result<void> audits(std::uint32_t, engine::Sequence after,
                      const std::function<bool(const engine::DecidedAudit&)>& each) const override {
    for (const auto& audit : decided)
      if (audit.position > after && !each(audit)) break;
    return {};
  }
  std::vector<engine::ShardStats> stats() const override {
    engine::ShardStats one;
    one.position = position;
    return {one};
  }
  Instant now() const override { return clock; }
  std::uint32_t generation() const override { return 1; }
  std::string trouble() const override { return in_trouble; }

  std::map<engine::ActorId, std::string> heads;
  std::map<engine::ActorId, std::map<std::string, std::string>> all_rows;
  std::map<std::string, std::map<std::string, std::string>> indexes;
  std::vector<engine::DecidedAudit> decided;
  engine::Sequence position = 0;
  std::vector<engine::Call> calls;
  Result<std::string> reply{""};
  std::function<void(const std::vector<engine::Change>&)> subscriber;
  std::weak_ptr<void> subscribed;  ///< The newest subscription.
  Instant clock{1'800'000'000'000};
  std::string in_trouble;

 private:
  struct Rows final : engine::RowReader {
    explicit Rows(const std::map<std::string, std::string>& rows) : all(rows) {}
    std::optional<std::string> row(std::string_view) override { return std::nullopt; }
    std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                          std::string_view upper,
                                                          std::size_t) override {
      std::vector<std::pair<std::string, std::string>> found;
      for (const auto& row : all)
        if (row.first >= lower && row.first < upper) found.emplace_back(row);
      return found;
    }
    const std::map<std::string, std::string>& all;
  };

  /// As a shard does when the message's turn comes.
  std::optional<engine::Reply> check(const engine::Call& made) {
    engine::Envelope message;
    message.only_if = made.only_if;
    message.only_if_rows = made.only_if_rows;
    engine::KindOps kind;
    kind.encode_state = [&](const void*) { return heads[made.to]; };
    Rows reader(all_rows[made.to]);
    return engine::check_only_if(message, kind, nullptr, reader);
  }
};

}  // namespace muster::musterd
