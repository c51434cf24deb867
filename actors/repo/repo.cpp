#include "actors/repo/repo.hpp"

#include <algorithm>
#include <chrono>

#include "actors/common.hpp"
#include "actors/pull/pull.hpp"
#include "actors/run/run.hpp"
#include "actors/swarm/swarm.hpp"

namespace muster::actors {

std::string pull_key(const std::string& repository, std::uint32_t number) {
  return repository + "#" + std::to_string(number);
}

namespace {

constexpr Duration kPullEffect = std::chrono::minutes(5);

using Turns = std::vector<std::unique_ptr<fbs::RepoTurnT>>;

Turns::iterator turn_of(Turns& turns, const std::string& run) {
  return std::find_if(turns.begin(), turns.end(), [&](const auto& t) { return t->run == run; });
}

class RepoStep {
 public:
  RepoStep(fbs::RepoHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  void on(const fbs::AcquireT& m) {
    if (s_.canonical_url != m.canonical_url && unused()) {
      s_.canonical_url = m.canonical_url;
      s_.url = m.url;
    }
    if (m.canonical_url != s_.canonical_url) {
      refuse(m.run, "name_taken",
             name() + " is " + s_.canonical_url + ", which has runs or open pull requests; " +
                 m.canonical_url + " has the same name and must wait until those are closed");
      return;
    }
    if (m.limit == Repo::kBesideOthers) return ctx_.send<Run>(m.run, fbs::RepoGrantedT{});
    if (turn_of(s_.waiting, m.run) != s_.waiting.end()) return;
    if (turn_of(s_.holders, m.run) != s_.holders.end()) return;
    if (s_.waiting.size() >= Repo::kMaxWaiting) {
      refuse(m.run, "queue_full",
             std::to_string(Repo::kMaxWaiting) + " runs wait for " + name() + " already");
      return;
    }
    s_.limit = std::max(1U, m.limit);
    auto turn = std::make_unique<fbs::RepoTurnT>();
    turn->run = m.run;
    turn->fleet = m.fleet;
    turn->limit = s_.limit;
    s_.waiting.push_back(std::move(turn));
    grant();
  }

  void on(const fbs::ReleaseT& m) {
    const auto same = [&](const auto& turn) { return turn->run == m.run; };
    std::erase_if(s_.holders, same);
    std::erase_if(s_.waiting, same);
    grant();
  }

  void on(const fbs::OpenPullT& m) {
    if (const fbs::OpenPullRefT* open = open_pull(m.fleet)) {
      update(*open, m);
      answer(m, open->number, open->url, "");
      return;
    }
    if (auto opening = opening_of(m.fleet)) {  // the forge is being asked: the newest asker gets the answer
      opening->pull = std::make_unique<fbs::OpenPullT>(m);
      put(m.fleet, *opening);
      return;
    }
    if (s_.open_pulls.size() >= Repo::kMaxOpenPulls) {
      answer(m, 0, "", name() + " has " + std::to_string(s_.open_pulls.size()) +
                               " open pull requests: too many");
      return;
    }
    fbs::OpeningPullT opening;
    opening.pull = std::make_unique<fbs::OpenPullT>(m);
    opening.number = s_.next_pull++;
    put(m.fleet, opening);
    ask_forge(opening);
  }

  void on(const fbs::PullCreatedT& m) {
    const auto opening = opening_of(m.fleet);
    if (!opening) return;
    ctx_.erase_row(row_key(m.fleet));
    if (!m.error.empty() || m.number == 0) {
      answer(*opening->pull, 0, "", m.error.empty() ? "the forge gave no number" : m.error);
      return;
    }
    s_.next_pull = std::max(s_.next_pull, m.number + 1);
    auto ref = std::make_unique<fbs::OpenPullRefT>();
    ref->fleet = m.fleet;
    ref->number = m.number;
    ref->run = opening->pull->run;
    ref->url = m.url;
    s_.open_pulls.push_back(std::move(ref));
    fbs::CreatePullT create;
    create.number = m.number;
    create.url = m.url;
    create.repository_url = s_.url;
    create.pull = std::make_unique<fbs::OpenPullT>(*opening->pull);
    ctx_.send<Pull>(pull_key(name(), m.number), create);
    answer(*opening->pull, m.number, m.url, "");
  }

  void on(const fbs::PullEndedT& m) {
    std::erase_if(s_.open_pulls, [&](const auto& open) {
      return open->number == m.number && open->fleet == m.fleet;
    });
  }

  void on(const fbs::EffectUnknownT& m) {
    for (const auto& [key, bytes] : ctx_.rows("opening/", "opening0", Repo::kMaxOpenPulls)) {
      auto opening = must_decode<fbs::OpeningPullT>(bytes);
      if (effect_key(opening.pull->fleet) != m.key) continue;
      if (++opening.tries < Repo::kPullTries) {
        put(opening.pull->fleet, opening);
        ask_forge(opening);
      } else {
        ctx_.erase_row(key);
        answer(*opening.pull, 0, "", "the forge gave no answer");
      }
      return;
    }
  }

  void on(const fbs::ForgetRepoT&) {
    if (!unused()) return ctx_.refuse(Errc::refused, name() + " has runs or open pull requests");
    ctx_.audit("musterd", "repo.forget", s_.canonical_url);
    ctx_.reply("");
    ctx_.remove();
  }

 private:
  [[nodiscard]] const std::string& name() const { return ctx_.self().key; }
  [[nodiscard]] bool unused() {
    return s_.holders.empty() && s_.waiting.empty() && s_.open_pulls.empty() &&
           ctx_.rows("opening/", "opening0", 1).empty();
  }
  static std::string row_key(const std::string& fleet) { return "opening/" + fleet; }
  [[nodiscard]] std::string effect_key(const std::string& fleet) const {
    return "pr/" + fleet + "/" + name();
  }

  /// Strictly first come, first served: who can't be granted holds up those behind.
  void grant() {
    while (!s_.waiting.empty()) {
      std::uint32_t allowed = s_.waiting.front()->limit;
      for (const auto& holder : s_.holders) allowed = std::min(allowed, holder->limit);
      if (s_.holders.size() >= allowed) return;
      ctx_.send<Run>(s_.waiting.front()->run, fbs::RepoGrantedT{});
      s_.holders.push_back(std::move(s_.waiting.front()));
      s_.waiting.erase(s_.waiting.begin());
    }
  }

  void refuse(const std::string& run, std::string code, std::string why) {
    fbs::RepoRefusedT refused;
    refused.code = std::move(code);
    refused.reason = std::move(why);
    ctx_.send<Run>(run, refused);
  }

  void answer(const fbs::OpenPullT& pull, std::uint32_t number, std::string url,
              std::string error) {
    if (!pull.swarm.empty()) {
      fbs::SwarmPullOpenedT opened;
      opened.repository = name();
      opened.number = number;
      opened.url = std::move(url);
      opened.error = std::move(error);
      ctx_.send<Swarm>(pull.swarm, opened);
      return;
    }
    fbs::PullOpenedT opened;
    opened.number = number;
    opened.url = std::move(url);
    opened.error = std::move(error);
    ctx_.send<Run>(pull.run, opened);
  }

  void update(const fbs::OpenPullRefT& open, const fbs::OpenPullT& m) {
    fbs::UpdatePullT update;
    update.head_sha = m.head_sha;
    update.base_sha = m.base_sha;
    update.title = m.title;
    update.body = m.body;
    update.run = m.run;
    update.diff_files = m.diff_files;
    update.diff_insertions = m.diff_insertions;
    update.diff_deletions = m.diff_deletions;
    ctx_.send<Pull>(pull_key(name(), open.number), update);
  }

  void ask_forge(const fbs::OpeningPullT& opening) {
    fbs::CreatePullRequestT request;
    request.repository = name();
    request.url = s_.url;
    request.proposed_number = opening.number;
    request.pull = std::make_unique<fbs::OpenPullT>(*opening.pull);
    const std::string key = effect_key(opening.pull->fleet);
    ctx_.perform({"forge", key, encode_effect(std::move(request)), kPullEffect, unknown<Repo>(key)});
  }

  const fbs::OpenPullRefT* open_pull(const std::string& fleet) const {
    for (const auto& open : s_.open_pulls)
      if (open->fleet == fleet) return open.get();
    return nullptr;
  }

  std::optional<fbs::OpeningPullT> opening_of(const std::string& fleet) {
    const auto bytes = ctx_.row(row_key(fleet));
    if (!bytes) return std::nullopt;
    return must_decode<fbs::OpeningPullT>(*bytes);
  }

  void put(const std::string& fleet, const fbs::OpeningPullT& opening) {
    ctx_.put_row(row_key(fleet), engine::encode_table(opening));
  }

  fbs::RepoHeadT& s_;
  engine::Context& ctx_;
};

}  // namespace

void Repo::step(State& state, const Message& message, engine::Context& ctx) {
  RepoStep step(state, ctx);
  std::visit([&](const auto& m) { step.on(m); }, message);
}

}  // namespace muster::actors
