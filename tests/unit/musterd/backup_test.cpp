// Backups: consistent, incremental, whole or none; what a restore brings back, and what it refuses.
#include <sys/stat.h>

#include <fstream>

#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/backup.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

namespace fs = std::filesystem;

/// Its checkpoint is a directory with two files; the second one never changes.
class KeptEngine final : public engine::Engine {
 public:
  explicit KeptEngine(fs::path store) : store_(std::move(store)) {}
  Result<void> checkpoint(const fs::path& directory) const override {
    if (!failure.empty()) return fail(Errc::io, failure);
    fs::create_directories(directory / "shard-0");
    std::ofstream(directory / "shard-0/MANIFEST") << journal;
    std::ofstream(directory / "shard-0/LOG") << "chatter";
    fs::create_hard_link(store_, directory / "shard-0/000001.sst");
    return {};
  }
  std::uint32_t generation() const override { return 4; }
  void call(engine::Call, engine::CallDone) override {}
  void deliver(engine::ChannelMessage, engine::ChannelDone) override {}
  Result<std::uint64_t> channel_mark(std::string_view) const override { return 0; }
  Result<void> tell(engine::ActorId, engine::Payload, engine::Lane) override { return {}; }
  Result<std::optional<std::string>> head(const engine::ActorId&) const override {
    return std::nullopt;
  }
  Result<std::optional<std::string>> row(const engine::ActorId&, std::string_view) const override {
    return std::nullopt;
  }
  Result<void> rows(const engine::ActorId&, std::string_view, std::string_view,
                    const std::function<bool(std::string_view, std::string_view)>&) const override {
    return {};
  }
  Result<void> list(std::string_view, std::string_view, std::string_view,
                    const std::function<bool(std::string_view, const engine::ActorId&,
                                             std::string_view)>&) const override {
    return {};
  }
  std::shared_ptr<void> subscribe(
      std::function<void(const std::vector<engine::Change>&)>) override {
    return nullptr;
  }
  Instant now() const override { return {}; }
  std::string trouble() const override { return ""; }

  std::string journal = "one";
  std::string failure;

 private:
  fs::path store_;
};

void write(const fs::path& path, const std::string& text, unsigned mode = 0600) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::trunc) << text;
  ::chmod(path.c_str(), mode);
}
std::string text_of(const fs::path& path) {
  return read_file(path).value_or("(none)");
}

struct Kept {
  Kept() {
    write(directory.path / "sst", "a table that never changes");
    write(paths.audit() / "00000000000000000001.audit", "entries\n");
    write(paths.audit() / "lock", "");
    write(paths.blobs() / "ab/abcd", "a blob", 0644);
    write(paths.logs() / "7K2M/1", "a log");
    write(paths.ca() / "ca.key", "secret");
  }
  BackupResult make(std::int64_t at) {
    auto made = make_backup(paths, engine, backups, Instant{1'800'000'000'000 + at});
    if (!made) FAIL(made.error().message);
    return std::move(*made);
  }
  Result<void> restore(const Paths& into, const std::string& id = "") {
    const auto manifest = find_backup(backups, id);
    REQUIRE(manifest);
    return restore_backup(into, backups, *manifest, [&](const fs::path& journal) -> Result<void> {
      raised = journal;
      if (!raise_failure.empty()) return fail(Errc::io, raise_failure);
      write(journal / "shard-0/generation", "5");
      return {};
    });
  }
  TemporaryDirectory directory;
  Paths paths{directory.path / "a"};
  Paths other{directory.path / "b"};
  fs::path backups = directory.path / "backups";
  KeptEngine engine{directory.path / "sst"};
  fs::path raised;
  std::string raise_failure;
};

}  // namespace

TEST_CASE_METHOD(Kept, "a restore brings back every byte and mode, in a new generation") {
  const BackupResult made = make(0);
  CHECK(made.manifest.id == "20270115T080000000Z");
  CHECK(made.manifest.generation == 4);
  CHECK(made.new_files == made.manifest.files.size());
  REQUIRE(restore(other));
  CHECK(text_of(other.engine() / "shard-0/MANIFEST") == "one");
  CHECK(text_of(other.engine() / "shard-0/000001.sst") == "a table that never changes");
  CHECK(text_of(other.engine() / "shard-0/generation") == "5");
  CHECK(text_of(other.audit() / "00000000000000000001.audit") == "entries\n");
  CHECK(text_of(other.blobs() / "ab/abcd") == "a blob");
  CHECK(text_of(other.logs() / "7K2M/1") == "a log");
  CHECK(text_of(other.ca() / "ca.key") == "secret");
  CHECK(!fs::exists(other.engine() / "shard-0/LOG"));
  CHECK(!fs::exists(other.data() / "restoring"));
  struct stat status {};
  REQUIRE(::stat((other.ca() / "ca.key").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(!fs::exists(paths.data() / "checkpoint"));
}

TEST_CASE_METHOD(Kept, "the next backup copies what is new, and each stays whole") {
  make(0);
  engine.journal = "two";
  write(paths.blobs() / "cd/cdef", "another blob");
  write(paths.logs() / "7K2M/1", "a log that grew");
  const BackupResult second = make(60'000);
  CHECK(second.new_files == 3);
  CHECK(second.manifest.files.size() == 7);
  CHECK(list_backups(backups)->size() == 2);
  REQUIRE(restore(other, "20270115T080000000Z"));
  CHECK(text_of(other.engine() / "shard-0/MANIFEST") == "one");
  CHECK(text_of(other.logs() / "7K2M/1") == "a log");
  CHECK(!fs::exists(other.blobs() / "cd/cdef"));
  const Paths third{directory.path / "c"};
  REQUIRE(restore(third));
  CHECK(text_of(third.engine() / "shard-0/MANIFEST") == "two");
  CHECK(text_of(third.logs() / "7K2M/1") == "a log that grew");
}

TEST_CASE_METHOD(Kept, "a backup that fails leaves none, and the next one succeeds") {
  engine.failure = "no room";
  CHECK(make_backup(paths, engine, backups, {}).error().message == "no room");
  CHECK(list_backups(backups)->empty());
  engine.failure.clear();
  // As kill -9 leaves it.
  write(paths.data() / "checkpoint/shard-0/old", "left");
  write(backups / "incoming", "half a file");
  make(0);
  const auto manifest = find_backup(backups, "");
  REQUIRE(manifest);
  CHECK(verify_backup(backups, *manifest)->empty());
  for (const BackupFile& file : manifest->files) CHECK(file.path != "engine/shard-0/old");
}

TEST_CASE_METHOD(Kept, "two at a time are refused; a relative directory too") {
  fs::create_directories(backups);
  const auto held = lock_file(backups / "backup.lock");
  REQUIRE(held);
  CHECK(make_backup(paths, engine, backups, {}).error().code == Errc::conflict);
  CHECK(make_backup(paths, engine, "backups", {}).error().code == Errc::invalid);
}

TEST_CASE_METHOD(Kept, "what was changed in a backup is found, and never restored") {
  const BackupResult made = make(0);
  const auto file = std::find_if(made.manifest.files.begin(), made.manifest.files.end(),
                                 [](const BackupFile& f) { return f.path == "blobs/ab/abcd"; });
  REQUIRE(file != made.manifest.files.end());
  const fs::path object = backups / "objects" / file->sha256.substr(0, 2) / file->sha256;
  write(object, "another blob");
  CHECK(*verify_backup(backups, made.manifest) ==
        std::vector<std::string>{"blobs/ab/abcd: its copy was changed"});
  CHECK(restore(other).error().code == Errc::corrupt);
  CHECK(!fs::exists(other.engine()));
  fs::remove(object);
  CHECK(verify_backup(backups, made.manifest)->size() == 1);
}

TEST_CASE_METHOD(Kept, "a manifest that leads out of the data directory is refused") {
  make(0);
  const fs::path manifest = backups / "backups/20270115T080000000Z.json";
  std::string text = text_of(manifest);
  text.replace(text.find("blobs/ab/abcd"), 13, "../../etc/pwd");
  write(manifest, text);
  CHECK(find_backup(backups, "").error().code == Errc::corrupt);
}

TEST_CASE_METHOD(Kept, "a restore needs an empty place, and an interrupted one is begun again") {
  make(0);
  CHECK(restore(paths).has_value());  // It has no journal: the fake engine's lies elsewhere.
  CHECK(restore(paths).error().code == Errc::conflict);
  raise_failure = "killed here";
  CHECK(restore(other).error().code == Errc::io);
  CHECK(!fs::exists(other.engine()));
  raise_failure.clear();
  REQUIRE(restore(other));
  CHECK(fs::exists(other.engine() / "shard-0/MANIFEST"));
  CHECK(find_backup(backups, "yesterday").error().code == Errc::not_found);
}
