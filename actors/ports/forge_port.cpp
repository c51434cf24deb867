#include "actors/ports/forge_port.hpp"

#include <map>
#include <mutex>
#include <utility>

#include "actors/ports/effects_generated.h"
#include "actors/ports/git_names.hpp"
#include "actors/ports/work_queue.hpp"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"
#include "engine/core/kind.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {
namespace {

using engine::EffectDone;
using engine::Payload;
using engine::PendingEffect;

constexpr const char* kMergeAuthor = "Muster";
constexpr const char* kMergeEmail = "muster@localhost";

// The forge's outcomes and the schema's go by the same numbers.
static_assert(static_cast<int>(PushOutcome::failed) == static_cast<int>(fbs::PushOutcome::failed));
static_assert(static_cast<int>(PushOutcome::base_moved) ==
              static_cast<int>(fbs::PushOutcome::base_moved));
static_assert(static_cast<int>(MergeOutcome::failed) ==
              static_cast<int>(fbs::MergeOutcome::failed));
static_assert(static_cast<int>(MergeOutcome::checked_out) ==
              static_cast<int>(fbs::MergeOutcome::checked_out));

Payload encode(const fbs::PushDoneT& message) {
  return engine::MessageSet<fbs::RunBodyUnionTraits, fbs::PushDoneT>::encode(message);
}
Payload encode(const fbs::PullCreatedT& message) {
  return engine::MessageSet<fbs::RepoBodyUnionTraits, fbs::PullCreatedT>::encode(message);
}
Payload encode(const fbs::MergeDoneT& message) {
  return engine::MessageSet<fbs::PullBodyUnionTraits, fbs::MergeDoneT>::encode(message);
}
Payload encode(const fbs::CloseDoneT& message) {
  return engine::MessageSet<fbs::PullBodyUnionTraits, fbs::CloseDoneT>::encode(message);
}

/// Packs that effects still need: one may be wanted twice, when two repositories are copies of each
/// other.
class PackUse {
 public:
  void enter(const std::string& digest) {
    const std::lock_guard lock(mutex_);
    ++users_[digest];
  }
  /// True when nobody else needs it.
  bool leave(const std::string& digest) {
    const std::lock_guard lock(mutex_);
    if (--users_[digest] > 0) return false;
    users_.erase(digest);
    return true;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> users_;
};

class ForgePort final : public engine::EffectPort {
 public:
  ForgePort(std::unique_ptr<Forge> forge, Blobs packs, ForgePortOptions options)
      : forge_(std::move(forge)),
        packs_(std::move(packs)),
        options_(std::move(options)),
        local_(options_.local_threads, options_.queue),
        remote_(options_.remote_threads, options_.queue) {}

  void perform(const PendingEffect& pending, EffectDone done) override {
    auto effect = engine::decode_table<fbs::EffectT>(pending.bytes);
    if (!effect) return complain(pending, effect.error().message);
    auto shared = std::make_shared<fbs::EffectT>(std::move(*effect));
    const std::string* url = url_of(shared->body);
    if (url == nullptr) return complain(pending, "this is no effect of the forge");
    if (const auto* push = shared->body.AsPushBranch()) use_.enter(push->pack_digest);
    const bool taken =
        queue_for(*url).offer([this, shared, key = pending.key, done = std::move(done)] {
          run(shared->body, key, done);
        });
    if (taken) return;
    if (const auto* push = shared->body.AsPushBranch()) use_.leave(push->pack_digest);
    complain(pending, "too many effects wait for the forge");
  }

 private:
  void complain(const PendingEffect& pending, const std::string& why) const {
    options_.complain("effect " + pending.key + " of " + pending.actor.to_string() + ": " + why);
  }

  static const std::string* url_of(const fbs::EffectBodyUnion& body) {
    if (const auto* push = body.AsPushBranch()) return &push->url;
    if (const auto* pull = body.AsCreatePullRequest()) return &pull->url;
    if (const auto* merge = body.AsMergeBranch()) return &merge->url;
    if (const auto* close = body.AsDeleteBranch()) return &close->url;
    return nullptr;
  }

  WorkQueue& queue_for(const std::string& url) {
    const auto address = parse_address(url);
    return address && !address->local ? remote_ : local_;
  }

  void run(const fbs::EffectBodyUnion& body, const std::string& key, const EffectDone& done) {
    if (const auto* push = body.AsPushBranch()) return run_push(*push, done);
    if (const auto* pull = body.AsCreatePullRequest()) return done(encode(created(*pull, key)));
    if (const auto* merge = body.AsMergeBranch()) return done(encode(merged(*merge)));
    if (const auto* close = body.AsDeleteBranch()) return done(encode(closed(*close)));
  }

  void run_push(const fbs::PushBranchT& effect, const EffectDone& done) {
    const PushResult result =
        is_sha256_hex(effect.pack_digest)
            ? forge_->push({effect.url, effect.base_branch, effect.base_sha, effect.head_sha,
                            effect.branch, packs_.path(effect.pack_digest), effect.replace})
            : PushResult{PushOutcome::rejected, "the pack has no digest"};
    fbs::PushDoneT message;
    message.attempt = effect.attempt;
    message.outcome = static_cast<fbs::PushOutcome>(result.outcome);
    message.message = result.message;
    message.head_sha = effect.head_sha;
    done(encode(message));
    const bool last = use_.leave(effect.pack_digest);
    const bool there =
        result.outcome == PushOutcome::pushed || result.outcome == PushOutcome::already_there;
    if (last && there) (void)packs_.remove(effect.pack_digest);  // A leftover only costs room.
  }

  fbs::PullCreatedT created(const fbs::CreatePullRequestT& effect, const std::string& key) {
    fbs::PullCreatedT message;
    message.number = effect.proposed_number;
    if (effect.pull == nullptr) {
      message.error = "the effect holds no pull request";
      return message;
    }
    const fbs::OpenPullT& pull = *effect.pull;
    message.fleet = pull.fleet;
    const auto opened =
        forge_->open_pull({key, effect.proposed_number, effect.repository, effect.url, pull.branch,
                           pull.base_branch, pull.head_sha, pull.title, pull.body});
    if (!opened) {
      message.error = opened.error().message;
      return message;
    }
    message.number = opened->number;
    message.url = opened->url;
    return message;
  }

  fbs::MergeDoneT merged(const fbs::MergeBranchT& effect) {
    const MergeResult result =
        forge_->merge({effect.url, effect.branch, effect.base_branch, effect.head_sha,
                       effect.message, kMergeAuthor, kMergeEmail, effect.at_unix_ms});
    fbs::MergeDoneT message;
    message.outcome = static_cast<fbs::MergeOutcome>(result.outcome);
    message.commit = result.commit;
    message.message = result.message;
    return message;
  }

  fbs::CloseDoneT closed(const fbs::DeleteBranchT& effect) {
    fbs::CloseDoneT message;
    const auto deleted = forge_->delete_branch(effect.url, effect.branch, effect.head_sha);
    if (!deleted) message.error = deleted.error().message;
    return message;
  }

  std::unique_ptr<Forge> forge_;
  Blobs packs_;
  ForgePortOptions options_;
  PackUse use_;
  WorkQueue local_, remote_;  // Last: their threads end before what they use.
};

}  // namespace

std::unique_ptr<engine::EffectPort> make_forge_port(std::unique_ptr<Forge> forge, Blobs packs,
                                                    ForgePortOptions options) {
  return std::make_unique<ForgePort>(std::move(forge), std::move(packs), std::move(options));
}

}  // namespace muster::actors
