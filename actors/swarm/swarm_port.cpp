#include "actors/swarm/swarm_port.hpp"

#include <vector>

#include "actors/ports/git_pack.hpp"
#include "actors/ports/work_queue.hpp"
#include "engine/core/kind.hpp"

namespace muster::actors {
namespace {

using engine::EffectDone;
using engine::Payload;

template <class M>
Payload swarm_message(const M& message) {
  return engine::MessageSet<fbs::SwarmBodyUnionTraits, M>::encode(message);
}

class SwarmPort final : public engine::EffectPort {
 public:
  SwarmPort(swarm::SwarmSpecs& specs, std::filesystem::path scratch, SwarmPortOptions options)
      : work_(specs, std::move(scratch), options.complain), complain_(std::move(options.complain)) {
    git::initialise();
    for (std::size_t i = 0; i < options.threads; ++i)
      queues_.push_back(std::make_unique<WorkQueue>(1, options.queue));
  }

  /// One thread does everything of one repository: an order that was given up can't outlast its repeat.
  void perform(const engine::PendingEffect& pending, EffectDone done) override {
    auto effect = engine::decode_table<fbs::EffectT>(pending.bytes);
    if (!effect) return complain(pending, effect.error().message);
    auto body = std::make_shared<fbs::EffectT>(std::move(*effect));
    const std::size_t which = std::hash<std::string>{}(url_of(body->body)) % queues_.size();
    const bool taken = queues_[which]->offer(
        [this, body, key = pending.key, done = std::move(done)] { run(body->body, done); });
    if (!taken) complain(pending, "too many effects wait for the swarms");
  }

 private:
  void complain(const engine::PendingEffect& pending, const std::string& why) const {
    complain_("effect " + pending.key + " of " + pending.actor.to_string() + ": " + why);
  }

  static std::string url_of(const fbs::EffectBodyUnion& body) {
    if (const auto* start = body.AsStartLine()) return start->url;
    if (const auto* merge = body.AsMergeFacets()) return merge->url;
    if (const auto* move = body.AsMoveGreen()) return move->url;
    if (const auto* show = body.AsShowCandidates()) return show->url;
    return {};
  }

  void run(const fbs::EffectBodyUnion& body, const EffectDone& done) {
    if (const auto* read = body.AsReadPlan()) return done(swarm_message(work_.read_plan(*read)));
    if (const auto* adopt = body.AsAdoptPlan()) return done(swarm_message(work_.adopt(*adopt)));
    if (const auto* show = body.AsShowCandidates()) return done(swarm_message(work_.show(*show)));
    if (const auto* start = body.AsStartLine())
      return done(swarm_message(work_.start_line(*start)));
    if (const auto* merge = body.AsMergeFacets()) return done(swarm_message(work_.merge(*merge)));
    if (const auto* move = body.AsMoveGreen()) return done(swarm_message(work_.move_green(*move)));
  }

  SwarmWork work_;
  std::function<void(const std::string&)> complain_;
  std::vector<std::unique_ptr<WorkQueue>> queues_;  // Last: their threads end before what they use.
};

}  // namespace

std::unique_ptr<engine::EffectPort> make_swarm_port(swarm::SwarmSpecs& specs,
                                                    std::filesystem::path scratch,
                                                    SwarmPortOptions options) {
  git::remove_leftovers(scratch);
  return std::make_unique<SwarmPort>(specs, std::move(scratch), std::move(options));
}

}  // namespace muster::actors
