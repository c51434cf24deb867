#include "actors/host/host.hpp"

#include <algorithm>
#include <tuple>

#include "actors/common.hpp"
#include "actors/indexes.hpp"
#include "actors/run/run.hpp"

namespace muster::actors {

namespace {

using fbs::HostState;

constexpr std::size_t kReasonBytes = 500;
constexpr std::size_t kTextBytes = 200;

class HostStep {
 public:
  HostStep(fbs::HostHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  void on(const fbs::HostConnectedT& m) {
    if (std::tie(m.generation, m.session) < std::tie(s_.generation, s_.session)) return;
    make();
    s_.refused.clear();
    s_.protocol = m.protocol;
    s_.session = m.session;
    s_.generation = m.generation;
    s_.version = bounded(m.version, kTextBytes);
    s_.slots = std::min(m.slots, Host::kMaxSlots);
    s_.cpus_milli = m.cpus_milli;
    s_.memory_bytes = m.memory_bytes;
    s_.connected_unix_ms = ctx_.now().unix_ms;
    take_warm(m.warm);
    take_labels(m.labels);
    enter(s_.wanted);
  }

  void on(const fbs::HostRefusedT& m) {
    make();
    s_.version = bounded(m.version, kTextBytes);
    s_.protocol = m.protocol;
    s_.refused = one_line(m.why, kReasonBytes);
    if (s_.session == 0) enter(HostState::unreachable);
  }

  void on(const fbs::HostDisconnectedT& m) {
    if (m.session == s_.session) enter(HostState::unreachable);
  }

  void on(const fbs::LeaseEndedT& m) {
    if (m.session != s_.session) return;
    for (const auto& slot : s_.used) {
      fbs::HostLostT lost;
      lost.host = s_.name;
      lost.session = slot->session;
      ctx_.send<Run>(slot->run, lost);
    }
    s_.used.clear();
    enter(HostState::unreachable);
  }

  void on(const fbs::ProposeT& m) {
    if (m.session != s_.session) return refuse("that session is over");
    if (s_.state != HostState::ready)
      return refuse(std::string("the host is ") + fbs::EnumNameHostState(s_.state));
    for (const auto& slot : s_.used)
      if (slot->run == m.run && slot->attempt >= m.attempt) return;  // placed already
    if (s_.used.size() >= s_.slots) return refuse("no free slot");
    if (!fits(m)) return refuse("not enough cpu or memory free");
    reserve(m);
  }

  void on(const fbs::FreeT& m) {
    const auto slot = std::find_if(s_.used.begin(), s_.used.end(), [&](const auto& each) {
      return each->run == m.run && each->attempt == m.attempt;
    });
    if (slot == s_.used.end()) return;
    worked_on((*slot)->canonical_url);
    s_.used.erase(slot);
  }

  void on(const fbs::CordonT& m) { want(HostState::cordoned, "host.cordon", m.by, m.reason); }
  void on(const fbs::UncordonT& m) { want(HostState::ready, "host.uncordon", m.by, m.reason); }
  void on(const fbs::DrainT& m) { want(HostState::draining, "host.drain", m.by, m.reason); }

  void on(const fbs::ForgetHostT& m) {
    if (s_.state != HostState::unreachable || s_.changed_unix_ms != m.changed_unix_ms)
      return refuse("it was here since");
    if (!s_.used.empty()) return refuse("runs are placed there");
    ctx_.unindex(std::string(index::kHost), ctx_.self().key);
    ctx_.audit("musterd", "host.forget", "");
    ctx_.reply("");
    ctx_.remove();
  }

 private:
  void make() {
    if (!s_.name.empty()) return;
    s_.name = ctx_.self().key;
    s_.wanted = HostState::ready;
    ctx_.index(std::string(index::kHost), s_.name, "");
  }

  void refuse(std::string why) { ctx_.refuse(Errc::refused, ctx_.self().key + ": " + why); }

  void enter(HostState state) {
    s_.state = state;
    s_.changed_unix_ms = ctx_.now().unix_ms;
  }

  void want(HostState state, std::string action, const std::string& by, const std::string& reason) {
    s_.wanted = state;
    if (s_.state != HostState::unreachable) enter(state);
    ctx_.audit(by, std::move(action), one_line(reason, kReasonBytes));
    ctx_.reply("");
  }

  /// A host that does not say how much it has is limited by its slots alone.
  [[nodiscard]] bool fits(const fbs::ProposeT& m) const {
    std::uint64_t cpus = m.cpus_milli, memory = m.memory_bytes;
    for (const auto& slot : s_.used) {
      cpus += slot->cpus_milli;
      memory += slot->memory_bytes;
    }
    return (s_.cpus_milli == 0 || cpus <= s_.cpus_milli) &&
           (s_.memory_bytes == 0 || memory <= s_.memory_bytes);
  }

  void reserve(const fbs::ProposeT& m) {
    auto slot = std::make_unique<fbs::SlotT>();
    slot->run = m.run;
    slot->attempt = m.attempt;
    slot->session = s_.session;
    slot->fleet = m.fleet;
    slot->since_unix_ms = ctx_.now().unix_ms;
    slot->cpus_milli = m.cpus_milli;
    slot->memory_bytes = m.memory_bytes;
    slot->canonical_url = m.canonical_url;
    s_.used.push_back(std::move(slot));
    fbs::PlacedT placed;
    placed.host = s_.name;
    placed.session = s_.session;
    placed.generation = s_.generation;
    placed.attempt = m.attempt;
    ctx_.send<Run>(m.run, placed);
  }

  [[nodiscard]] std::vector<std::string> warm() {
    const auto bytes = ctx_.row(Host::kWarmRow);
    return bytes ? must_decode<fbs::WarmRowT>(*bytes).urls : s_.warm;
  }

  void keep_warm(std::vector<std::string> urls) {
    s_.warm.clear();
    s_.warm_count = static_cast<std::uint32_t>(urls.size());
    ++s_.warm_changes;
    fbs::WarmRowT row;
    row.urls = std::move(urls);
    ctx_.put_row(std::string(Host::kWarmRow), engine::encode_table(row));
  }

  void take_warm(const std::vector<std::string>& said) {
    std::vector<std::string> urls;
    std::size_t bytes = 0;
    for (const std::string& url : said) {
      bytes += url.size() + 16;
      if (bytes > Host::kWarmBytes) break;
      urls.push_back(url);
    }
    std::sort(urls.begin(), urls.end());
    urls.erase(std::unique(urls.begin(), urls.end()), urls.end());
    if (urls != warm()) keep_warm(std::move(urls));
  }

  /// Its mirror is there now, most likely: a hint for placement, which the next connection corrects.
  void worked_on(const std::string& url) {
    std::vector<std::string> urls = warm();
    const auto at = std::lower_bound(urls.begin(), urls.end(), url);
    if (url.empty() || (at != urls.end() && *at == url)) return;
    std::size_t bytes = url.size() + 16;
    for (const std::string& each : urls) bytes += each.size() + 16;
    if (bytes > Host::kWarmBytes) return;
    urls.insert(at, url);
    keep_warm(std::move(urls));
  }

  void take_labels(const std::vector<std::unique_ptr<wire::KeyValueT>>& labels) {
    s_.labels.clear();
    for (const auto& label : labels) {
      if (!label || s_.labels.size() == Host::kMaxLabels) continue;
      auto copy = std::make_unique<wire::KeyValueT>();
      copy->key = bounded(label->key, kTextBytes);
      copy->value = bounded(label->value, kTextBytes);
      s_.labels.push_back(std::move(copy));
    }
  }

  fbs::HostHeadT& s_;
  engine::Context& ctx_;
};

}  // namespace

void Host::step(State& state, const Message& message, engine::Context& ctx) {
  HostStep step(state, ctx);
  std::visit([&](const auto& m) { step.on(m); }, message);
}

}  // namespace muster::actors
