#include "engine/runtime/runtime.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <shared_mutex>

#include "engine/core/archive.hpp"
#include "engine/core/breadcrumb.hpp"
#include "engine/core/inspect.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/letters.hpp"
#include "engine/core/shard.hpp"
#include "engine/runtime/boot_clock.hpp"
#include "engine/runtime/measured_journal.hpp"
#include "engine/runtime/strands.hpp"
#include "engine/runtime/subscribers.hpp"
#include "engine/runtime/views.hpp"
#include "storage/base/files.hpp"
#include "storage/journal/rocksdb_journal.hpp"

namespace muster::engine {

namespace {

/// Nothing of the outside gets into the keys of the journal unchecked.
Result<void> check_actor(const ActorId& id) {
  constexpr std::size_t kLongest = 1'024;
  for (const std::string* part : {&id.org, &id.kind, &id.key})
    if (part->empty() || part->size() > kLongest || part->find('\0') != part->npos)
      return fail(Errc::invalid, "not the name of an actor");
  return {};
}

/// Both are kept in the audit for long.
Result<void> check_command(const OperatorCommand& command) {
  constexpr std::size_t kLongestName = 256;
  constexpr std::size_t kLongestReason = 4'096;
  if (command.who.empty() || command.who.size() > kLongestName)
    return fail(Errc::invalid, "an operator's command needs to know who gives it, in 256 bytes");
  if (command.why.size() > kLongestReason)
    return fail(Errc::invalid, "a reason may take 4096 bytes");
  return {};
}

/// Calls begin(answer) and waits until `answer` was called with a T, from any thread. What is waited on is shared:
/// who is woken may be gone before the other thread's set_value() has ended.
template <class T, class F>
T answer_of(F&& begin) {
  auto promise = std::make_shared<std::promise<T>>();
  auto future = promise->get_future();
  begin([promise = std::move(promise)](T answer) { promise->set_value(std::move(answer)); });
  return future.get();
}

class Runtime;

/// One shard with what it stands on.
struct Node : Executor, Link, Outside {
  Node(Runtime& its_runtime, std::uint32_t its_number) : runtime(its_runtime), number(its_number) {}

  void post(Task task) override { strand->post(std::move(task)); }
  void post_after(Duration delay, Task task) override {
    strand->post_after(delay, std::move(task));
  }
  void write(Task task) override { writer->post(std::move(task)); }
  void send(std::uint32_t destination, Parcel parcel) override;
  void acknowledge(std::uint32_t destination, ParcelAck ack) override;
  void perform(const PendingEffect& effect) override;
  void changed(const std::vector<Change>& changes) override;
  void trouble(const std::string& what) override;

  Runtime& runtime;
  std::uint32_t number;
  std::unique_ptr<storage::Journal> journal;
  std::unique_ptr<MeasuredJournal> measured;  ///< The same, as the shard commits to it.
  std::unique_ptr<Breadcrumb> breadcrumb;
  std::unique_ptr<Strands::Strand> strand;
  std::unique_ptr<Strands::Strand> writer;
  std::unique_ptr<Shard> shard;
  mutable std::mutex trouble_mutex;
  std::string trouble_text;
};

/// What ports may hold on to after the engine is gone: a door that is shut then.
struct Door {
  std::shared_mutex mutex;
  Runtime* runtime = nullptr;  ///< Null: shut.
};

class Runtime : public Engine, public Inside, public SelectedChanges {
 public:
  Runtime(EngineConfig config, Kinds kinds, Ports ports)
      : config_(config),
        kinds_(std::move(kinds)),
        ports_(std::move(ports)),
        strands_(config.threads) {}
  ~Runtime() override { shut(); }

  Result<void> start(const std::filesystem::path& directory);

  void call(Call call, CallDone done) override;
  void deliver(ChannelMessage message, ChannelDone done) override;
  Result<std::uint64_t> channel_mark(std::string_view channel) const override;
  Result<void> tell(ActorId to, Payload payload, Lane lane) override;
  void tell_then(ActorId to, Payload payload, ChannelDone done) override;
  void operate(OperatorCommand command, CallDone done) override;
  Result<std::vector<DeadLetter>> dead_letters(LetterId after, std::size_t limit) const override {
    return read_letters(journals(), kinds_, after, limit);
  }
  Result<std::optional<DeadLetter>> dead_letter(LetterId id) const override {
    return read_letter(journals(), kinds_, id);
  }
  Result<std::optional<std::string>> head(const ActorId& actor) const override {
    return read_head(*node_of(actor).journal, actor);
  }
  Result<std::optional<std::string>> row(const ActorId& actor,
                                         std::string_view key) const override {
    return find_row(*node_of(actor).journal, actor, key);
  }
  Result<void> rows(const ActorId& actor, std::string_view lower, std::string_view upper,
                    const EachRow& each) const override {
    return find_rows(*node_of(actor).journal, actor, lower, upper, each);
  }
  Result<void> list(std::string_view index, std::string_view lower, std::string_view upper,
                    const EachEntry& each) const override;
  [[nodiscard]] std::uint32_t shards() const override {
    return static_cast<std::uint32_t>(nodes_.size());
  }
  Result<void> audits(std::uint32_t shard, Sequence after, const EachAudit& each) const override {
    return read_audits(*nodes_[shard]->journal, shard, after, each);
  }
  std::vector<ShardStats> stats() const override;
  Result<void> checkpoint(const std::filesystem::path& directory) const override;
  std::shared_ptr<void> subscribe(std::function<void(const std::vector<Change>&)> each) override {
    return subscribers_->add(std::move(each));
  }
  std::shared_ptr<void> subscribe_selected(
      ChangeSelector wants, std::function<void(const std::vector<Change>&)> each) override {
    return subscribers_->add(std::move(each), std::move(wants));
  }
  Instant now() const override { return clock_.now() + ahead_.load(); }
  std::uint32_t generation() const override { return generation_; }
  std::string trouble() const override;

  [[nodiscard]] Journals journals() const override;
  [[nodiscard]] const Kinds& kinds() const override { return kinds_; }
  std::shared_ptr<const std::vector<ActivationLook>> activations() override;
  std::optional<ActivationLook> activation(const ActorId& actor) override;
  [[nodiscard]] std::vector<CommitLook> commits() const override;
  [[nodiscard]] CommitTotals commit_totals() const override;

  Node& node(std::uint32_t number) { return *nodes_[number]; }
  void perform(Node& node, const PendingEffect& effect);
  void publish(const std::vector<Change>& changes) { subscribers_->publish(changes); }

 private:
  Node& node_of(const ActorId& id) const {
    return *nodes_[Shard::shard_of(id, static_cast<std::uint32_t>(nodes_.size()))];
  }
  /// A channel's mark lives in one shard, wherever its messages go.
  Node& home_of(std::string_view channel) const {
    return node_of({"muster", "channel", std::string(channel)});
  }
  Result<std::unique_ptr<storage::Journal>> open_journal(const std::filesystem::path& path) const;
  Result<void> start_shard(std::uint32_t number, const std::filesystem::path& directory);
  void shut();

  EngineConfig config_;
  Kinds kinds_;
  Ports ports_;
  BootClock clock_;
  std::atomic<Duration> ahead_{Duration{0}};  ///< Shard time beyond the clock's.
  std::atomic<std::uint32_t> generation_{1};
  std::shared_ptr<Door> door_ = std::make_shared<Door>();
  Strands strands_;
  std::unique_ptr<Strands::Strand> notifier_;
  std::unique_ptr<Subscribers> subscribers_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::mutex looking_;  ///< One look at a time; the others wait for its answer.
  Instant looked_at_;
  std::shared_ptr<const std::vector<ActivationLook>> looks_;
};

// ---- one shard's surroundings ----

void Node::send(std::uint32_t destination, Parcel parcel) {
  Node& there = runtime.node(destination);
  there.post([&there, parcel = std::move(parcel)] { there.shard->receive(parcel); });
}

void Node::acknowledge(std::uint32_t destination, ParcelAck ack) {
  Node& there = runtime.node(destination);
  there.post([&there, ack] { there.shard->acknowledged(ack); });
}

void Node::perform(const PendingEffect& effect) {
  runtime.perform(*this, effect);
}
void Node::changed(const std::vector<Change>& changes) {
  measured->note_decisions(changes.size());
  runtime.publish(changes);
}

void Node::trouble(const std::string& what) {
  const std::lock_guard lock(trouble_mutex);
  trouble_text = what;
}

/// A port without that name: nobody answers, and the effect's deadline says so to the actor.
void Runtime::perform(Node& node, const PendingEffect& effect) {
  const auto port = ports_.find(effect.port);
  if (port == ports_.end()) {
    node.trouble("there is no port " + effect.port);
    return;
  }
  port->second->perform(effect, [door = door_, number = node.number, effect](Payload result) {
    const std::shared_lock lock(door->mutex);
    if (door->runtime == nullptr) return;  // The next start hands the effect out again.
    Node& there = door->runtime->node(number);
    there.post(
        [&there, effect, result = std::move(result)] { there.shard->effect_done(effect, result); });
  });
}

// ---- life ----

Result<std::unique_ptr<storage::Journal>> Runtime::open_journal(
    const std::filesystem::path& path) const {
  if (config_.open_journal) return config_.open_journal(path);
  storage::RocksDbOptions options;
  options.memtable_bytes = config_.memtable_bytes;
  options.block_cache_bytes = config_.block_cache_bytes;
  return storage::open_rocksdb_journal(path, std::move(options));
}

Result<void> Runtime::start_shard(std::uint32_t number, const std::filesystem::path& directory) {
  const std::string name = "shard-" + std::to_string(number);
  auto journal = open_journal(directory / name);
  if (!journal) return tl::unexpected<Error>(journal.error());
  auto breadcrumb = Breadcrumb::open(directory / (name + ".running"));
  if (!breadcrumb) return tl::unexpected<Error>(breadcrumb.error());
  Node& node = *nodes_[number];
  node.journal = std::move(*journal);
  node.measured = std::make_unique<MeasuredJournal>(*node.journal, number);
  node.breadcrumb = std::move(*breadcrumb);
  node.strand = strands_.pooled();
  node.writer = strands_.detached();
  const ShardConfig config{{number, config_.shards}, config_.limits};
  node.shard = std::make_unique<Shard>(config, kinds_,
                                       ShardWorld{node, clock_, *node.measured, node, node,
                                                  node.breadcrumb.get()});
  return {};
}

Result<void> Runtime::start(const std::filesystem::path& directory) {
  notifier_ = strands_.detached();
  subscribers_ = std::make_unique<Subscribers>(*notifier_, config_.subscriber_changes);
  for (std::uint32_t n = 0; n < config_.shards; ++n)
    nodes_.push_back(std::make_unique<Node>(*this, n));
  for (std::uint32_t n = 0; n < config_.shards; ++n)
    if (auto ok = start_shard(n, directory); !ok) return ok;
  door_->runtime = this;  // From here on ports may answer.
  for (auto& node : nodes_) {
    const auto ok = answer_of<Result<void>>([&](const auto& ready) {
      node->post([this, &node, ready] {
        node->shard->start([this, &node, ready](Result<void> started) {
          generation_ = node->shard->generation();
          ahead_ = node->shard->now() - clock_.now();
          ready(std::move(started));
        });
      });
    });
    if (!ok) return ok;
  }
  for (const auto& node : nodes_)
    if (node->shard->generation() != generation_)
      return fail(Errc::refused, "its shards are of different generations: a restore was interrupted");
  return {};
}

/// Nobody gets in any more; what is decided is committed; then the strands run empty, one after the
/// other.
void Runtime::shut() {
  {
    const std::unique_lock lock(door_->mutex);
    door_->runtime = nullptr;
  }
  for (auto& node : nodes_) {
    if (!node->shard) continue;
    answer_of<bool>([&](const auto& stopped) {
      node->post([&node, stopped] { node->shard->stop([stopped] { stopped(true); }); });
    });
  }
  // What a strand still holds may post to a writer, and a writer to its strand: in this order both
  // run empty.
  for (auto& node : nodes_) {
    if (!node->shard) continue;
    answer_of<bool>([&](const auto& drained) {
      node->write([&node, drained] { node->post([drained] { drained(true); }); });
    });
  }
  for (auto& node : nodes_) {
    if (node->writer) node->writer->close();
    if (node->strand) node->strand->close();
  }
  if (notifier_) notifier_->close();
  for (auto& node : nodes_) node->shard.reset();
}

// ---- what comes in ----

void Runtime::call(Call call, CallDone done) {
  if (auto ok = check_actor(call.to); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  Node& there = node_of(call.to);
  there.post(
      [&there, call = std::move(call), done = std::move(done)] { there.shard->call(call, done); });
}

void Runtime::deliver(ChannelMessage message, ChannelDone done) {
  if (auto ok = check_actor(message.to); !ok) {
    done(ok);
    return;
  }
  Node& home = home_of(message.channel);
  home.post([&home, message = std::move(message), done = std::move(done)] {
    home.shard->deliver(message, done);
  });
}

void Runtime::operate(OperatorCommand command, CallDone done) {
  const bool of_letter = command.action == OperatorCommand::Action::replay ||
                         command.action == OperatorCommand::Action::discard;
  Result<void> ok = check_command(command);
  if (ok && !of_letter) ok = check_actor(command.actor);
  if (ok && of_letter && command.letter.shard >= nodes_.size())
    ok = fail(Errc::not_found, "there is no dead letter " + command.letter.to_string());
  if (!ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  Node& there = of_letter ? node(command.letter.shard) : node_of(command.actor);
  there.post([&there, command = std::move(command), done = std::move(done)] {
    there.shard->operate(command, done);
  });
}

Result<std::uint64_t> Runtime::channel_mark(std::string_view channel) const {
  auto mark = home_of(channel).journal->get(storage::Family::dedup, keys::channel(channel));
  if (!mark) return tl::unexpected<Error>(mark.error());
  return *mark ? storage::get_be64(**mark) : 0;
}

Result<void> Runtime::tell(ActorId to, Payload payload, Lane lane) {
  if (auto ok = check_actor(to); !ok) return ok;
  Node& there = node_of(to);
  const auto post = [&](ChannelDone done) {
    there.post([&there, to = std::move(to), payload = std::move(payload), lane,
                done = std::move(done)] { there.shard->tell(to, payload, lane, done); });
  };
  if (!Strands::inside()) return answer_of<Result<void>>(post);
  // Waiting on a thread of the engine would wait for itself; what is told is made again when it is lost.
  post([](const Result<void>&) {});
  return {};
}

void Runtime::tell_then(ActorId to, Payload payload, ChannelDone done) {
  if (auto ok = check_actor(to); !ok) {
    done(ok);
    return;
  }
  Node& there = node_of(to);
  there.post([&there, to = std::move(to), payload = std::move(payload), done = std::move(done)] {
    there.shard->tell(to, payload, Lane::normal, done);
  });
}

// ---- what is seen ----

Result<void> Runtime::list(std::string_view index, std::string_view lower, std::string_view upper,
                           const EachEntry& each) const {
  return read_index(journals(), index, lower, upper, each);
}

// ---- what tools see ----

/// Asks a shard on its strand. Not from a thread of the engine: it would wait for itself.
template <class F>
auto ask(Node& node, F&& question) {
  return answer_of<decltype(question(*node.shard))>([&](const auto& answer) {
    node.post([&node, &question, answer] { answer(question(*node.shard)); });
  });
}

Journals Runtime::journals() const {
  Journals all;
  for (const auto& node : nodes_) all.push_back(node->journal.get());
  return all;
}

std::vector<ShardStats> Runtime::stats() const {
  std::vector<ShardStats> all;
  if (Strands::inside()) return all;  // A strand that waited for itself would wait for ever.
  for (const auto& node : nodes_) {
    all.push_back(ask(*node, [](const Shard& shard) { return shard.stats(); }));
    all.back().store = node->journal->numbers();
  }
  return all;
}

Result<void> Runtime::checkpoint(const std::filesystem::path& directory) const {
  if (nodes_.size() != 1)
    return fail(Errc::refused, "a checkpoint of several shards would not be of one moment");
  if (auto made = make_directory(directory, 0700); !made) return made;
  return nodes_[0]->journal->checkpoint(directory / "shard-0");
}

std::shared_ptr<const std::vector<ActivationLook>> Runtime::activations() {
  constexpr Duration kFresh{250};
  constexpr std::size_t kMost = 20'000;
  const std::lock_guard lock(looking_);
  if (looks_ && clock_.now() - looked_at_ < kFresh) return looks_;
  auto looks = std::make_shared<std::vector<ActivationLook>>();
  for (auto& node : nodes_) {
    auto some = ask(*node, [](const Shard& shard) { return shard.look(kMost); });
    looks->insert(looks->end(), some.begin(), some.end());
  }
  looks_ = std::move(looks);
  looked_at_ = clock_.now();
  return looks_;
}

std::optional<ActivationLook> Runtime::activation(const ActorId& actor) {
  return ask(node_of(actor), [&](const Shard& shard) { return shard.look(actor); });
}

std::vector<CommitLook> Runtime::commits() const {
  std::vector<CommitLook> all;
  CommitTotals totals;
  for (const auto& node : nodes_) node->measured->add_to(all, totals);
  std::stable_sort(all.begin(), all.end(),
                   [](const CommitLook& a, const CommitLook& b) { return a.at < b.at; });
  return all;
}

CommitTotals Runtime::commit_totals() const {
  std::vector<CommitLook> all;
  CommitTotals totals;
  for (const auto& node : nodes_) node->measured->add_to(all, totals);
  return totals;
}

std::string Runtime::trouble() const {
  for (const auto& node : nodes_) {
    const std::lock_guard lock(node->trouble_mutex);
    if (!node->trouble_text.empty())
      return "shard " + std::to_string(node->number) + ": " + node->trouble_text;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> make_engine(EngineConfig config, Kinds kinds, Ports ports,
                                            const std::filesystem::path& directory) {
  if (config.shards == 0 || config.shards > kSlots)
    return fail(Errc::invalid, "an engine has 1 to 256 shards");
  auto runtime = std::make_unique<Runtime>(config, std::move(kinds), std::move(ports));
  if (auto ok = runtime->start(directory); !ok) return fail(ok.error(), "starting the engine");
  return runtime;
}

Result<std::uint32_t> raise_generation(const std::filesystem::path& directory) {
  std::vector<std::unique_ptr<storage::Journal>> shards;
  std::uint32_t newest = 0;
  for (;;) {
    const auto path = directory / ("shard-" + std::to_string(shards.size()));
    if (!std::filesystem::is_directory(path)) break;
    auto journal = storage::open_rocksdb_journal(path);
    if (!journal) return tl::unexpected<Error>(journal.error());
    const auto generation = stored_generation(**journal);
    if (!generation) return fail(generation.error(), path.string());
    newest = std::max(newest, *generation);
    shards.push_back(std::move(*journal));
  }
  if (shards.empty()) return fail(Errc::not_found, "no journal below " + directory.string());
  for (const auto& shard : shards)
    if (auto ok = store_generation(*shard, newest + 1); !ok) return tl::unexpected<Error>(ok.error());
  return newest + 1;
}

}  // namespace muster::engine
