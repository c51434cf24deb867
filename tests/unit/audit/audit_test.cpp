// The audit log against everything that its files' owner could do to them: change, remove, move,
// cut off, forge.
#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include "storage/audit/chain.hpp"
#include "storage/audit/heads.hpp"
#include "storage/audit/verify.hpp"
#include "storage/base/ids.hpp"

using namespace muster;
using namespace muster::storage;

namespace {

namespace fs = std::filesystem;

constexpr Instant kNow{1'800'000'000'000};

/// A log of `entries` in small files, with a signed head after each third entry.
struct Log {
  explicit Log(int entries = 20) {
    char name[] = "/tmp/muster-audit-XXXXXX";
    root = ::mkdtemp(name);
    key = std::make_unique<SigningKey>(*SigningKey::ensure(root / "audit.key"));
    open();
    for (int i = 1; i <= entries; ++i) {
      REQUIRE(chain->append({payload(i)}));
      if (i % 3 == 0) sign();
    }
  }
  ~Log() { fs::remove_all(root); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  static std::string payload(int i) {
    return "{\"who\":\"alice\",\"n\":" + std::to_string(i) + "}";
  }
  void open() {
    constexpr std::uint64_t kSmall = 400;
    auto opened = AuditChain::open(root / "audit", kSmall);
    if (!opened) FAIL(opened.error().message);
    chain = std::move(*opened);
  }
  void sign() { REQUIRE(append_head(root / "heads", *chain->head(), *key, kNow)); }
  [[nodiscard]] AuditReport verify() const {
    const auto open_half = VerifyingKey::read(root / "audit.key.pub");
    REQUIRE(open_half);
    auto report = verify_audit(root / "audit", root / "heads", *open_half);
    if (!report) FAIL(report.error().message);
    return *report;
  }
  /// All findings, one a line.
  [[nodiscard]] std::string wrong() const {
    std::string text;
    for (const std::string& finding : verify().findings) text += finding + "\n";
    return text;
  }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& file : fs::directory_iterator(root / "audit"))
      if (file.path().extension() == ".audit") all.push_back(file.path());
    std::sort(all.begin(), all.end());
    return all;
  }
  [[nodiscard]] std::string exported(std::uint64_t upto) const {
    std::string text;
    REQUIRE(chain->read(0, [&](const AuditEntry& entry) {
      if (entry.number <= upto) text += export_line(entry);
      return entry.number < upto;
    }));
    return text;
  }

  fs::path root;
  std::unique_ptr<SigningKey> key;
  std::unique_ptr<AuditChain> chain;
};

std::string slurp(const fs::path& path) {
  return *read_file(path);
}
void spit(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  return lines;
}
std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line;
  return text;
}

/// Writes a file's lines anew after `change`.
template <class Change>
void edit(const fs::path& path, Change change) {
  auto lines = lines_of(slurp(path));
  change(lines);
  spit(path, joined(lines));
}

}  // namespace

TEST_CASE_METHOD(Log, "what was appended is there, in order, over several files and a restart") {
  open();
  CHECK(chain->head()->number == 20);
  CHECK(files().size() > 2);
  int next = 1;
  REQUIRE(chain->read(0, [&](const AuditEntry& entry) {
    CHECK(entry.number == static_cast<std::uint64_t>(next));
    CHECK(entry.payload == payload(next++));
    return true;
  }));
  CHECK(next == 21);
  std::uint64_t from_17 = 0;
  REQUIRE(chain->read(17, [&](const AuditEntry& entry) {
    from_17 += entry.number;
    return true;
  }));
  CHECK(from_17 == 18 + 19 + 20);
  const AuditReport report = verify();
  CHECK(report.findings == std::vector<std::string>{});
  CHECK(report.entries == 20);
  CHECK(report.head == *chain->head());
  CHECK(report.signed_heads == 6);
  CHECK(report.newest_signed->head.number == 18);
}

TEST_CASE_METHOD(Log, "any byte that is changed is found, wherever it stands") {
  for (const fs::path& file : files()) {
    const std::string before = slurp(file);
    for (std::size_t at = 0; at < before.size(); at += 7) {
      std::string changed = before;
      changed[at] = changed[at] == 'x' ? 'y' : 'x';
      spit(file, changed);
      INFO(file << " at " << at);
      CHECK(wrong() != "");
    }
    spit(file, before);
  }
  CHECK(wrong() == "");
}

TEST_CASE_METHOD(
    Log, "an entry that is changed and hashed anew is found by the next one, or by a signature") {
  edit(files()[0], [&](auto& lines) {
    const AuditHead before;
    const std::string other = "{\"who\":\"mallory\"}";
    lines[1] = export_line({1, audit_hash(before, other), other});
  });
  CHECK(wrong().find("entry 2 does not fit its hash and the entry before it") == 0);
}

TEST_CASE_METHOD(Log, "a whole log that was made anew is found by the signed heads") {
  fs::remove_all(root / "audit");
  open();
  for (int i = 1; i <= 20; ++i) REQUIRE(chain->append({payload(i == 5 ? 500 : i)}));
  CHECK(wrong().find("entry 6 is not the one that was signed at 2027-01-15T08:00:00.000Z: the log "
                     "was rewritten") == 0);
}

TEST_CASE_METHOD(
    Log, "an entry that is removed is found: first, middle, last of a file, and a whole file") {
  edit(files()[0], [](auto& lines) { lines.erase(lines.begin() + 1); });
  CHECK(wrong().find("after entry 0 comes 2") != std::string::npos);
}

TEST_CASE_METHOD(Log, "a file that is removed is found") {
  const auto all = files();
  SECTION("the first") {
    fs::remove(all[0]);
    CHECK(wrong().find("no checkpoint says that what was before was exported") !=
          std::string::npos);
  }
  SECTION("one in the middle") {
    fs::remove(all[1]);
    CHECK(wrong().find("entries were removed, or files changed places") != std::string::npos);
  }
  SECTION("the last") {
    fs::remove(all.back());
    CHECK(wrong().find("its end was removed") != std::string::npos);
  }
  SECTION("all") {
    for (const auto& file : all) fs::remove(file);
    CHECK(wrong().find("entry 18 was signed at 2027-01-15T08:00:00.000Z, and the log ends at 0: "
                       "its end was removed") == 0);
  }
}

TEST_CASE_METHOD(Log, "entries or files that change places are found") {
  const auto all = files();
  SECTION("entries") {
    edit(all[0], [](auto& lines) { std::swap(lines[1], lines[2]); });
    CHECK(wrong().find("after entry 0 comes 2: entries were removed or changed places") == 0);
  }
  SECTION("entries that swap their numbers too") {
    edit(all[0], [](auto& lines) {
      std::swap(lines[1], lines[2]);
      lines[1][0] = '1';
      lines[2][0] = '2';
    });
    CHECK(wrong().find("entry 1 does not fit") == 0);
  }
  SECTION("files") {
    const std::string first = slurp(all[0]);
    spit(all[0], slurp(all[1]));
    spit(all[1], first);
    CHECK(wrong().find("holds other entries than its name says") != std::string::npos);
  }
  SECTION("an entry that comes twice") {
    edit(all[0], [](auto& lines) { lines.insert(lines.begin() + 1, lines[1]); });
    CHECK(wrong().find("after entry 1 comes 1") == 0);
  }
}

TEST_CASE_METHOD(Log, "an end that is cut off is found up to the newest signed head") {
  const fs::path last = files().back();
  edit(last, [](auto& lines) { lines.pop_back(); });
  // Entry 20 is beyond the newest signature: the stated window.
  CHECK(wrong() == "");
  edit(last, [](auto& lines) { lines.resize(1); });
  CHECK(wrong().find("its end was removed") != std::string::npos);
}

TEST_CASE_METHOD(Log, "a line torn in two is told, and cut off by the next append") {
  const fs::path last = files().back();
  const std::string text = slurp(last);
  spit(last, text.substr(0, text.size() - 5));
  CHECK(verify().torn);
  open();
  CHECK(chain->head()->number == 19);
  REQUIRE(chain->append({"again"}));
  CHECK(!verify().torn);
  CHECK(wrong() == "");
  // In a file that is not the last one, nothing but scissors does that.
  const fs::path first = files().front();
  spit(first, slurp(first).substr(0, slurp(first).size() - 5));
  CHECK(wrong().find("was cut off") != std::string::npos);
}

TEST_CASE_METHOD(Log, "a new file whose header never arrived is no obstacle") {
  spit(root / "audit/00000000000000000021.audit", "MUSTER-AU");
  open();
  CHECK(chain->append({"on"})->number == 21);
  CHECK(wrong() == "");
}

TEST_CASE_METHOD(Log,
                 "signed heads that were changed are found; without the key none can be made") {
  edit(root / "heads", [](auto& lines) { lines[1][5] = '9'; });
  CHECK(wrong().find("line 2 of ") == 0);
  const auto stranger = SigningKey::ensure(root / "stranger.key");
  REQUIRE(stranger);
  fs::remove(root / "heads");
  REQUIRE(append_head(root / "heads", *chain->head(), *stranger, kNow));
  CHECK(wrong().find("its signature does not fit") != std::string::npos);
}

TEST_CASE_METHOD(Log, "pruning needs the export, leaves a signed checkpoint, and the log goes on") {
  const std::string text = exported(12);
  CHECK(chain->prune(12, sha256_hex("something else"), *key, kNow).error().code == Errc::conflict);
  CHECK(chain->prune(99, sha256_hex(text), *key, kNow).error().code == Errc::not_found);
  const std::size_t before = files().size();
  REQUIRE(chain->prune(12, sha256_hex(text), *key, kNow));
  CHECK(files().size() < before);
  CHECK(wrong() == "");
  const AuditReport report = verify();
  CHECK(report.first > 1);
  CHECK(report.first <= 13);
  CHECK(report.checkpoint->head.number == 12);
  CHECK(report.checkpoint->export_sha256 == sha256_hex(text));

  SECTION("the checkpoint can't be forged or lost") {
    edit(root / "audit/checkpoint", [](auto& lines) { lines[0][11] = '9'; });
    CHECK(wrong() != "");
    fs::remove(root / "audit/checkpoint");
    CHECK(wrong().find("no checkpoint says") != std::string::npos);
  }
  SECTION("everything, and then more") {
    const std::string rest = exported(20);
    REQUIRE(chain->prune(20, sha256_hex(rest), *key, kNow));
    CHECK(verify().entries == 0);
    CHECK(wrong() == "");
    open();
    CHECK(chain->append({"on"})->number == 21);
    CHECK(wrong() == "");
    CHECK(verify().first == 21);
  }
  SECTION("a crash after the checkpoint and before the files went") {
    Log other(0);
    fs::remove_all(other.root / "audit");
    Log full(20);
    fs::copy(full.root / "audit", other.root / "audit");
    fs::copy_file(full.root / "audit.key", other.root / "audit.key",
                  fs::copy_options::overwrite_existing);
    REQUIRE(full.chain->prune(12, sha256_hex(full.exported(12)), *full.key, kNow));
    fs::copy_file(full.root / "audit/checkpoint", other.root / "audit/checkpoint");
    const std::size_t whole = other.files().size();
    other.open();
    CHECK(other.files().size() < whole);
    CHECK(other.chain->head()->number == 20);
  }
}

TEST_CASE_METHOD(Log, "an export is verified without the log") {
  const auto open_half = VerifyingKey::read(root / "audit.key.pub");
  REQUIRE(open_half);
  spit(root / "export", exported(10));
  auto report = verify_audit_export(root / "export", root / "heads", *open_half);
  REQUIRE(report);
  CHECK(report->findings == std::vector<std::string>{});
  CHECK(report->entries == 10);
  edit(root / "export", [](auto& lines) { lines.erase(lines.begin() + 4); });
  report = verify_audit_export(root / "export", root / "heads", *open_half);
  CHECK(report->findings.front().find("after entry 4 comes 6") == 0);
}

TEST_CASE_METHOD(Log, "what is no line, or too long, is refused whole") {
  CHECK(chain->append({"fine", "two\nlines"}).error().code == Errc::invalid);
  CHECK(chain->append({std::string(kMaxAuditPayload + 1, 'x')}).error().code == Errc::invalid);
  CHECK(chain->head()->number == 20);
}

TEST_CASE("several threads and processes append to one chain, and it is whole") {
  Log log(0);
  constexpr int kEach = 50;
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = AuditChain::open(log.root / "audit", 400);
    bool ok = own.has_value();
    for (int i = 0; ok && i < kEach; ++i) ok = (*own)->append({"child"}).has_value();
    ::_exit(ok ? 0 : 1);
  }
  std::thread other([&] {
    for (int i = 0; i < kEach; ++i) (void)log.chain->append({"thread"});
  });
  for (int i = 0; i < kEach; ++i) (void)log.chain->append({"main", "main"});
  other.join();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(log.wrong() == "");
  std::map<std::string, int> counted;
  REQUIRE(log.chain->read(0, [&](const AuditEntry& entry) {
    ++counted[std::string(entry.payload)];
    return true;
  }));
  CHECK(counted ==
        std::map<std::string, int>{{"child", kEach}, {"main", 2 * kEach}, {"thread", kEach}});
}

TEST_CASE("kill -9 while appending: what was acknowledged is there, and the chain is whole") {
  Log log(0);
  int said[2];
  REQUIRE(::pipe(said) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = AuditChain::open(log.root / "audit", 400);
    for (std::uint64_t i = 0; own; ++i) {
      const auto head = (*own)->append({"entry " + std::to_string(i)});
      if (!head || ::write(said[1], &head->number, sizeof head->number) < 0) break;
    }
    ::_exit(1);
  }
  ::close(said[1]);
  std::uint64_t acknowledged = 0;
  while (acknowledged < 200)
    REQUIRE(::read(said[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  while (::read(said[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged) {
  }
  ::close(said[0]);
  log.open();
  CHECK(log.chain->head()->number >= acknowledged);
  CHECK(log.wrong() == "");
}

TEST_CASE("a key is made once, kept, and never replaced by itself") {
  const Log log(0);
  const fs::path key = log.root / "audit.key";
  const auto signature = log.key->sign("text");
  REQUIRE(signature);
  const auto again = SigningKey::ensure(key);
  REQUIRE(again);
  CHECK(*again->sign("text") == *signature);
  CHECK(VerifyingKey::read(key.string() + ".pub")->fits("text", *signature));
  CHECK(!VerifyingKey::read(key.string() + ".pub")->fits("Text", *signature));
  fs::remove(key);
  CHECK(SigningKey::ensure(key).error().code == Errc::corrupt);
}
