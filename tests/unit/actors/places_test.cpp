// Repo, pull request and host, told everything by hand.
#include <catch2/catch.hpp>

#include "stages.hpp"

using namespace muster;
using namespace muster::actors;

namespace {

fbs::AcquireT acquire(const std::string& run, std::uint32_t limit = 1,
                      const std::string& url = "/srv/a") {
  fbs::AcquireT m;
  m.run = run;
  m.fleet = "f";
  m.url = m.canonical_url = url;
  m.limit = limit;
  return m;
}

fbs::ReleaseT release(const std::string& run) {
  fbs::ReleaseT m;
  m.run = run;
  return m;
}

fbs::OpenPullT open_pull(const std::string& run, const std::string& fleet = "f") {
  fbs::OpenPullT m;
  m.run = run;
  m.fleet = fleet;
  m.branch = "muster/f";
  m.head_sha = std::string(40, 'a');
  m.title = "t";
  return m;
}

fbs::PullCreatedT created(std::uint32_t number, const std::string& fleet = "f") {
  fbs::PullCreatedT m;
  m.fleet = fleet;
  m.number = number;
  return m;
}

std::string to_whom(const engine::Decision& decision) {
  std::string text;
  for (const auto& out : decision.sends) text += out.to.key + " ";
  return text;
}

}  // namespace

TEST_CASE("turns are given in order, within every holder's limit, once") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  CHECK(acts(repo) == "run RepoGranted\n");
  repo.tell(acquire("A"));
  CHECK(acts(repo) == "");
  repo.tell(acquire("B", 5));
  repo.tell(acquire("C", 5));
  repo.tell(acquire("B", 5));
  CHECK(acts(repo) == "");
  repo.tell(release("A"));
  CHECK(to_whom(repo.decision()) == "B C ");
  repo.tell(acquire("D"));
  repo.tell(acquire("E", 5));
  CHECK(acts(repo) == "");  // D is first, and wants to be alone
  repo.tell(release("D"));
  CHECK(to_whom(repo.decision()) == "E ");
  repo.tell(release("nobody"));
  CHECK(acts(repo) == "");
}

TEST_CASE("who works beside the others has no turn and takes none") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  for (int i = 0; i < 2; ++i) {
    repo.tell(acquire("fork", Repo::kBesideOthers));
    CHECK(to_whom(repo.decision()) == "fork ");
  }
  CHECK(repo.state().holders.size() == 1);
  repo.tell(acquire("B"));
  CHECK(acts(repo) == "");
  repo.tell(release("fork"));
  CHECK(acts(repo) == "");
  repo.tell(release("A"));
  CHECK(to_whom(repo.decision()) == "B ");
}

TEST_CASE("another repository of the same name is refused, and so is an endless queue") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  repo.tell(acquire("B", 1, "/srv/b"));
  const auto refused =
      std::get<fbs::RepoRefusedT>(*Run::Messages::decode(repo.decision().sends.at(0).payload));
  CHECK(refused.code == "name_taken");
  CHECK(refused.reason ==
        "acme/api is /srv/a, which has runs or open pull requests; /srv/b has the same name and "
        "must wait until those are closed");
  for (std::size_t i = 0; i < Repo::kMaxWaiting; ++i) repo.tell(acquire("W" + std::to_string(i)));
  CHECK(acts(repo) == "");
  CHECK(engine::encode_table(repo.state()).size() < (64u << 10));
  repo.tell(acquire("Z"));
  CHECK(acts(repo) == "run RepoRefused\n");
}

TEST_CASE("a repository may move when nobody works on it and no pull request is open") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  repo.tell(open_pull("A"));
  repo.tell(release("A"));
  repo.tell(acquire("B", 1, "/srv/b"));
  CHECK(acts(repo) == "run RepoRefused\n");  // the forge is being asked
  repo.tell(created(1));
  repo.tell(acquire("B", 1, "/srv/b"));
  CHECK(acts(repo) == "run RepoRefused\n");
  fbs::PullEndedT ended;
  ended.fleet = "f";
  ended.number = 1;
  repo.tell(ended);
  repo.tell(acquire("B", 1, "/srv/b"));
  CHECK(acts(repo) == "run RepoGranted\n");
  CHECK(repo.state().canonical_url == "/srv/b");
  CHECK(repo.state().next_pull == 2);
}

TEST_CASE("one open pull request per fleet") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  repo.tell(open_pull("A"));
  CHECK(acts(repo) == "effect pr/f/acme/api\n");
  repo.tell(open_pull("A2"));  // while the forge is asked
  CHECK(acts(repo) == "");
  repo.tell(created(1));
  CHECK(acts(repo) == "pull CreatePull\nrun PullOpened\n");
  CHECK(to_whom(repo.decision()) == "acme/api#1 A2 ");
  repo.tell(created(1));
  CHECK(acts(repo) == "");
  repo.tell(open_pull("B"));
  CHECK(acts(repo) == "pull UpdatePull\nrun PullOpened\n");
  repo.tell(open_pull("C", "other"));
  CHECK(acts(repo) == "effect pr/other/acme/api\n");
  repo.tell(created(2, "other"));
  CHECK(repo.state().open_pulls.size() == 2);
  fbs::PullEndedT ended;
  ended.fleet = "f";
  ended.number = 1;
  repo.tell(ended);
  repo.tell(open_pull("D"));
  CHECK(acts(repo) == "effect pr/f/acme/api\n");
}

TEST_CASE("a forge without an answer is asked again, and in the end the run is told") {
  engine::testing::Stage<Repo> repo("acme/api");
  repo.tell(acquire("A"));
  repo.tell(open_pull("A"));
  fbs::EffectUnknownT unknown;
  unknown.key = "pr/f/acme/api";
  for (std::uint32_t i = 1; i < Repo::kPullTries; ++i) {
    repo.tell(unknown);
    CHECK(acts(repo) == "effect pr/f/acme/api\n");
  }
  repo.tell(unknown);
  CHECK(acts(repo) == "run PullOpened\n");
  repo.tell(unknown);
  CHECK(acts(repo) == "");
}

namespace {

engine::testing::Stage<Pull> opened() {
  engine::testing::Stage<Pull> pull("acme/api#3");
  fbs::CreatePullT create;
  create.number = 3;
  create.repository_url = "/srv/a";
  create.pull = std::make_unique<fbs::OpenPullT>(open_pull("A"));
  pull.tell(create);
  CHECK(acts(pull) == "index pull\nindex pull-by-fleet\n");
  pull.tell(create);
  CHECK(acts(pull) == "");
  return pull;
}

fbs::MergeDoneT merge_done(fbs::MergeOutcome outcome) {
  fbs::MergeDoneT m;
  m.outcome = outcome;
  m.commit = std::string(40, 'e');
  return m;
}

fbs::ClosePullT close_pull(bool delete_branch) {
  fbs::ClosePullT m;
  m.delete_branch = delete_branch;
  return m;
}

}  // namespace

TEST_CASE("merging is asked once, and what comes of it is told") {
  auto pull = opened();
  pull.tell(fbs::MergePullT{});
  CHECK(acts(pull) == "effect merge/acme/api#3\nreply accepted\n");
  CHECK(pull.state().busy == "merge");
  pull.tell(fbs::MergePullT{});
  CHECK(acts(pull) == "reply accepted\n");
  pull.tell(close_pull(true));
  CHECK(acts(pull) == "refuse refused: acme/api#3 is being merged\n");
  pull.tell(merge_done(fbs::MergeOutcome::checked_out));
  CHECK(pull.state().busy.empty());
  CHECK(pull.state().problem.find("checked out") != std::string::npos);
  pull.tell(merge_done(fbs::MergeOutcome::merged));  // nobody asked
  CHECK(pull.state().state == fbs::PullState::open);
  pull.tell(fbs::MergePullT{});
  pull.tell(merge_done(fbs::MergeOutcome::already_merged));
  CHECK(acts(pull) == "repo PullEnded\nindex pull\nindex pull-by-fleet\n");
  CHECK(pull.state().state == fbs::PullState::merged);
  pull.tell(fbs::MergePullT{});
  CHECK(acts(pull) == "reply merged\n");
  pull.tell(close_pull(false));
  CHECK(acts(pull) == "refuse refused: acme/api#3 is merged\n");
}

TEST_CASE("closing, with its branch or without") {
  auto kept = opened();
  kept.tell(close_pull(false));
  CHECK(kept.state().state == fbs::PullState::closed);
  auto pull = opened();
  pull.tell(close_pull(true));
  CHECK(acts(pull) == "effect close/acme/api#3\nreply accepted\n");
  fbs::EffectUnknownT unknown;
  unknown.key = "close/acme/api#3";
  pull.tell(unknown);
  CHECK(acts(pull) == "effect close/acme/api#3\n");
  fbs::CloseDoneT done;
  done.error = "it moved";
  pull.tell(done);
  CHECK(pull.state().state == fbs::PullState::closed);
  CHECK(pull.state().problem == "its branch was not deleted: it moved");
  pull.tell(fbs::MergePullT{});
  CHECK(acts(pull) == "refuse refused: acme/api#3 is closed\n");
}

TEST_CASE("a pull request is removed with its fleet, once it is not open any more") {
  auto pull = opened();
  pull.tell(fbs::ForgetPullT{});
  CHECK(acts(pull) == "refuse refused: acme/api#3 is open\n");
  CHECK_FALSE(pull.decision().removed);
  pull.tell(close_pull(false));
  pull.tell(fbs::ForgetPullT{});
  CHECK(acts(pull) == "unindex pull\nunindex pull-by-fleet\n");
  CHECK(pull.decision().removed);
}

namespace {

fbs::HostConnectedT connected(std::uint64_t session) {
  fbs::HostConnectedT m;
  m.session = session;
  m.generation = 1;
  m.slots = 2;
  m.cpus_milli = 3000;
  return m;
}

fbs::ProposeT propose(const std::string& run, std::uint32_t attempt, std::uint64_t session,
                      std::uint32_t cpus = 1000) {
  fbs::ProposeT m;
  m.run = run;
  m.attempt = attempt;
  m.session = session;
  m.cpus_milli = cpus;
  return m;
}

fbs::LeaseEndedT lease_ended(std::uint64_t session) {
  fbs::LeaseEndedT m;
  m.session = session;
  return m;
}

}  // namespace

TEST_CASE("a host accepts what fits, once, under its present session") {
  engine::testing::Stage<Host> host("h");
  host.tell(connected(5));
  CHECK(acts(host) == "index host\n");
  host.tell(propose("A", 1, 4));
  CHECK(acts(host) == "refuse refused: h: that session is over\n");
  host.tell(propose("A", 1, 5));
  CHECK(acts(host) == "run Placed\n");
  host.tell(propose("A", 1, 5));
  CHECK(acts(host) == "");
  host.tell(propose("B", 1, 5, 2500));
  CHECK(acts(host) == "refuse refused: h: not enough cpu or memory free\n");
  host.tell(propose("B", 1, 5));
  host.tell(propose("C", 1, 5));
  CHECK(acts(host) == "refuse refused: h: no free slot\n");
  fbs::FreeT free;
  free.run = "A";
  free.attempt = 2;  // another attempt's
  host.tell(free);
  CHECK(host.state().used.size() == 2);
  free.attempt = 1;
  host.tell(free);
  host.tell(free);
  CHECK(host.state().used.size() == 1);
  for (const auto& [state, tell] : std::map<std::string, int>{{"cordoned", 0}, {"draining", 1}}) {
    if (tell == 0) host.tell(fbs::CordonT{});
    if (tell == 1) host.tell(fbs::DrainT{});
    CHECK(acts(host) == "reply \n");
    host.tell(propose("C", 1, 5));
    CHECK(acts(host) == "refuse refused: h: the host is " + state + "\n");
  }
  host.tell(fbs::UncordonT{});
  host.tell(propose("C", 1, 5));
  CHECK(acts(host) == "run Placed\n");
}

TEST_CASE("a reconnection keeps the slots; the end of the present lease loses all of them") {
  engine::testing::Stage<Host> host("h");
  host.tell(connected(5));
  host.tell(propose("A", 1, 5));
  fbs::HostDisconnectedT gone;
  gone.session = 5;
  host.tell(gone);
  host.tell(propose("B", 1, 5));
  CHECK(acts(host) == "refuse refused: h: the host is unreachable\n");
  host.tell(connected(6));
  CHECK(acts(host) == "");
  host.tell(gone);  // late
  host.tell(connected(5));
  host.tell(lease_ended(5));
  CHECK(host.state().state == fbs::HostState::ready);
  CHECK(host.state().used.size() == 1);
  host.tell(propose("B", 1, 6));
  host.tell(lease_ended(6));
  CHECK(acts(host) == "run HostLost\nrun HostLost\n");
  const auto lost =
      std::get<fbs::HostLostT>(*Run::Messages::decode(host.decision().sends.at(0).payload));
  CHECK(lost.session == 5);  // of A's placement, which is its epoch
  CHECK(host.state().used.empty());
  host.tell(lease_ended(6));
  CHECK(acts(host) == "");
  CHECK(host.state().state == fbs::HostState::unreachable);
  host.tell(fbs::CordonT{});
  CHECK(host.state().state == fbs::HostState::unreachable);
  host.tell(connected(7));
  CHECK(host.state().state == fbs::HostState::cordoned);
}

namespace {

std::vector<std::string> warm_of(engine::testing::Stage<Host>& host) {
  const auto row = host.rows().row(Host::kWarmRow);
  const auto urls = row ? must_decode<fbs::WarmRowT>(*row).urls : std::vector<std::string>();
  CHECK(host.state().warm_count == urls.size());
  CHECK(host.state().warm.empty());
  return urls;
}

}  // namespace

TEST_CASE("what an older version kept in the head goes into the row") {
  engine::testing::Stage<Host> host("h");
  host.tell(connected(5));
  host.state().warm = {"/srv/git/acme/old"};
  auto placed = propose("A", 1, 5);
  placed.canonical_url = "/srv/git/acme/api";
  host.tell(placed);
  fbs::FreeT free;
  free.run = "A";
  free.attempt = 1;
  host.tell(free);
  CHECK(warm_of(host) == std::vector<std::string>{"/srv/git/acme/api", "/srv/git/acme/old"});
}

TEST_CASE("a host is warm for what it has worked on, once, until it says itself what it has") {
  engine::testing::Stage<Host> host("h");
  host.tell(connected(5));
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    auto placed = propose("A", attempt, 5);
    placed.canonical_url = "/srv/git/acme/api";
    host.tell(placed);
    fbs::FreeT free;
    free.run = "A";
    free.attempt = attempt;
    host.tell(free);
    CHECK(warm_of(host) == std::vector<std::string>{"/srv/git/acme/api"});
    CHECK(host.decision().rows.size() == (attempt == 1 ? 1 : 0));  // Written when it changes.
  }
  host.tell(connected(6));
  CHECK(warm_of(host).empty());
  CHECK(host.state().warm_changes == 2);
}

TEST_CASE("a host that claims much keeps its head small") {
  engine::testing::Stage<Host> host("h");
  fbs::HostConnectedT huge = connected(1);
  huge.slots = 4'000'000'000U;
  huge.cpus_milli = 0;
  for (int i = 0; i < 3000; ++i) {
    huge.warm.push_back("/srv/git/acme/repository-" + std::to_string(i));
    huge.labels.push_back(std::make_unique<wire::KeyValueT>());
    huge.labels.back()->key = std::string(5'000, 'k');
  }
  host.tell(huge);
  for (std::uint32_t i = 0; i < 2 * Host::kMaxSlots; ++i)
    host.tell(propose("R" + std::to_string(i), 1, 1));
  CHECK(host.state().used.size() == Host::kMaxSlots);
  CHECK(engine::encode_table(host.state()).size() < (48u << 10));
  CHECK_FALSE(warm_of(host).empty());
}

TEST_CASE("a host is forgotten when it is gone since the time that is named, and not before") {
  engine::testing::Stage<Host> host("h");
  host.tell(connected(5));
  host.tell(propose("A", 1, 5));
  const auto forget = [&] {
    fbs::ForgetHostT m;
    m.changed_unix_ms = host.state().changed_unix_ms;
    host.tell(m);
    return acts(host);
  };
  CHECK(forget() == "refuse refused: h: it was here since\n");
  fbs::HostDisconnectedT gone;
  gone.session = 5;
  host.tell(gone);
  CHECK(forget() == "refuse refused: h: runs are placed there\n");
  host.tell(lease_ended(5));
  fbs::ForgetHostT old;
  old.changed_unix_ms = host.state().changed_unix_ms - 1;
  host.tell(old);
  CHECK(acts(host) == "refuse refused: h: it was here since\n");
  CHECK_FALSE(host.decision().removed);
  CHECK(forget() == "unindex host\nreply \n");
  CHECK(host.decision().removed);
  CHECK(host.decision().audits.at(0).action == "host.forget");
}

TEST_CASE("a repository is forgotten when nobody works on it and no pull request is open") {
  engine::testing::Stage<Repo> repo("acme/api");
  const auto forget = [&] {
    repo.tell(fbs::ForgetRepoT{});
    return acts(repo);
  };
  const std::string in_use = "refuse refused: acme/api has runs or open pull requests\n";
  repo.tell(acquire("A"));
  CHECK(forget() == in_use);
  repo.tell(open_pull("A"));
  repo.tell(release("A"));
  CHECK(forget() == in_use);  // the forge is being asked
  repo.tell(created(1));
  CHECK(forget() == in_use);
  fbs::PullEndedT ended;
  ended.fleet = "f";
  ended.number = 1;
  repo.tell(ended);
  CHECK(forget() == "reply \n");
  CHECK(repo.decision().removed);
  CHECK(repo.decision().audits.at(0).action == "repo.forget");
}
