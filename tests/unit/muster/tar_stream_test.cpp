#include "tools/muster/tar_stream.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <functional>
#include <map>

#include "storage/base/files.hpp"
#include "tests/unit/muster/scratch.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

/// A tar that says whatever it is told to, one member after the other.
class Forgery {
 public:
  Forgery() : tar_(::archive_write_new()) {
    ::archive_write_set_format_pax_restricted(tar_);
    ::archive_write_set_bytes_in_last_block(tar_, 1);
    REQUIRE(::archive_write_open(tar_, &bytes_, nullptr, &Forgery::add, nullptr) == ARCHIVE_OK);
  }
  Forgery(const Forgery&) = delete;
  Forgery& operator=(const Forgery&) = delete;
  ~Forgery() { ::archive_write_free(tar_); }

  Forgery& file(const std::string& path, const std::string& text, unsigned mode = 0644) {
    return member(path, AE_IFREG, mode, text, [](archive_entry*) {});
  }
  Forgery& directory(const std::string& path) {
    return member(path, AE_IFDIR, 0755, "", [](archive_entry*) {});
  }
  Forgery& link(const std::string& path, const std::string& target) {
    return member(path, AE_IFLNK, 0777, "", [&](archive_entry* e) { ::archive_entry_set_symlink(e, target.c_str()); });
  }
  Forgery& hard_link(const std::string& path, const std::string& target) {
    return member(path, AE_IFREG, 0644, "", [&](archive_entry* e) { ::archive_entry_set_hardlink(e, target.c_str()); });
  }
  Forgery& special(const std::string& path, unsigned type) {
    return member(path, type, 0666, "", [](archive_entry* e) { ::archive_entry_set_rdev(e, 0x103); });
  }
  std::string take() {
    ::archive_write_close(tar_);
    return bytes_;
  }

 private:
  static la_ssize_t add(struct archive*, void* to, const void* bytes, std::size_t size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  }

  Forgery& member(const std::string& path, unsigned type, unsigned mode, const std::string& text,
                  const std::function<void(archive_entry*)>& more) {
    archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, path.c_str());
    ::archive_entry_set_filetype(entry, type);
    ::archive_entry_set_perm(entry, static_cast<mode_t>(mode));
    ::archive_entry_set_uid(entry, 0);
    ::archive_entry_set_size(entry, static_cast<la_int64_t>(text.size()));
    more(entry);
    CHECK(::archive_write_header(tar_, entry) >= ARCHIVE_WARN);
    if (!text.empty()) CHECK(::archive_write_data(tar_, text.data(), text.size()) == static_cast<la_ssize_t>(text.size()));
    ::archive_entry_free(entry);
    return *this;
  }

  struct archive* tar_;
  std::string bytes_;
};

ReadBytes in_pieces(const std::string& bytes, std::size_t piece) {
  return [&bytes, piece, at = std::size_t{0}]() mutable -> Result<std::string> {
    std::string next = bytes.substr(std::min(at, bytes.size()), piece);
    at += next.size();
    return next;
  };
}

/// Everything below a directory: path, kind, and text or target.
std::string tree_below(const fs::path& top) {
  std::map<std::string, std::string> found;
  for (const auto& each : fs::recursive_directory_iterator(top)) {
    const std::string path = each.path().lexically_relative(top).string();
    struct stat info{};
    ::lstat(each.path().c_str(), &info);
    if (S_ISLNK(info.st_mode)) {
      found[path] = " -> " + fs::read_symlink(each.path()).string();
    } else if (S_ISDIR(info.st_mode)) {
      found[path] = "/";
    } else {
      std::string text = read_file(each.path()).value_or("?");
      if (text.ends_with('\n')) text.pop_back();
      found[path] = ((info.st_mode & 0111) != 0 ? " x: " : ": ") + text;
      if ((info.st_mode & (S_ISUID | S_ISGID)) != 0) found[path] += " SETUID";
      if (!S_ISREG(info.st_mode)) found[path] += " SPECIAL";
    }
  }
  std::string text;
  for (const auto& [path, what] : found) text += path + what + "\n";
  return text;
}

struct Unpacked {
  std::string said;      // the error, or the warnings
  std::string inside;    // of the target
  bool outside = false;  // something beside the target changed
};

/// Unpacks `tar` as `asked` into SCRATCH/target; SCRATCH/beside must stay as it is.
Unpacked unpack_into_scratch(const std::string& tar, const std::string& asked, const std::string& name,
                            const CopyLimits& limits = {}) {
  const Scratch scratch;
  scratch.write("beside/kept.txt", "kept\n");
  fs::create_directories(scratch.path() / "target");
  const std::string before = tree_below(scratch.path() / "beside");
  const auto copied = unpack_tar(in_pieces(tar, 700), {scratch.path() / "target", asked, name}, limits);
  Unpacked outcome;
  if (!copied) outcome.said = copied.error().message;
  for (const auto& warning : copied ? copied->warnings : std::vector<std::string>{}) outcome.said += warning + "\n";
  outcome.inside = tree_below(scratch.path() / "target");
  std::size_t tops = 0;
  for ([[maybe_unused]] const auto& each : fs::directory_iterator(scratch.path())) ++tops;
  outcome.outside = tops != 2 || tree_below(scratch.path() / "beside") != before;
  return outcome;
}

TEST_CASE("a tree comes over with its files, directories, links and executable bits, under another name, too") {
  Forgery tar;
  tar.directory("src").file("src/a.txt", "a\n").file("src/run", "r\n", 0755).link("src/l", "a.txt");
  tar.directory("src/deep").link("src/deep/up", "../a.txt").hard_link("src/again", "src/a.txt");
  const std::string bytes = tar.take();
  const std::string below = "/a.txt: a\nTOP/again: a\nTOP/deep/\nTOP/deep/up -> ../a.txt\nTOP/l -> a.txt\nTOP/run x: r\n";
  const auto named = [&](const std::string& top) {
    std::string text = top + "/\n" + top + below;
    for (std::size_t at = 0; (at = text.find("TOP", at)) != std::string::npos;) text.replace(at, 3, top);
    return text;
  };
  const Unpacked same = unpack_into_scratch(bytes, "src", "src");
  CHECK(same.said.empty());
  CHECK(same.inside == named("src"));
  CHECK_FALSE(same.outside);
  CHECK(unpack_into_scratch(bytes, "src", "other").inside == named("other"));

  Forgery dot;
  dot.directory("./").file("./a.txt", "a\n").link("./l", "a.txt");
  const std::string inner = dot.take();
  CHECK(unpack_into_scratch(inner, ".", "").inside == "a.txt: a\nl -> a.txt\n");
  CHECK(unpack_into_scratch(inner, ".", "made").inside == "made/\nmade/a.txt: a\nmade/l -> a.txt\n");
}

TEST_CASE("what tar packs is unpacked as it was, and the other way round") {
  const Scratch from, to;
  from.write("top/one.txt", "1\n");
  from.write("top/deep/two", std::string(300'000, 'x'), true);
  fs::create_symlink("deep/two", from.path() / "top/link");
  fs::create_directories(from.path() / "top/empty");
  std::string tar;
  const auto packed = pack_tar(from.path() / "top", "named", [&](std::string bytes) {
    tar += bytes;
    return true;
  });
  REQUIRE(packed);
  CHECK(packed->bytes == 300'002);
  const auto copied = unpack_tar(in_pieces(tar, 10'000), {to.path(), "named", "named"});
  INFO((copied ? "" : copied.error().message));
  REQUIRE(copied);
  CHECK(copied->bytes == 300'002);
  CHECK(tree_below(to.path() / "named") == tree_below(from.path() / "top"));

  ProcessSpec spec;
  spec.argv = {"tar", "-t", "-f", "-"};
  spec.env = {{"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C"}};
  spec.input = tar;
  const auto listed = run_checked(spec);
  REQUIRE(listed);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < listed->size(); at = listed->find('\n', at) + 1)
    lines.push_back(listed->substr(at, listed->find('\n', at) - at));
  std::sort(lines.begin(), lines.end());
  CHECK(lines == std::vector<std::string>{"named/", "named/deep/", "named/deep/two", "named/empty/", "named/link", "named/one.txt"});
}

TEST_CASE("a hostile archive does nothing outside of the target") {
  const auto refused = [](Forgery& tar, const std::string& why) {
    const Unpacked outcome = unpack_into_scratch(tar.take(), "src", "src");
    INFO(outcome.said << "\n" << outcome.inside);
    CHECK(outcome.said.find(why) != std::string::npos);
    CHECK_FALSE(outcome.outside);
    return outcome.inside;
  };
  SECTION("an absolute path") {
    Forgery tar;
    CHECK(refused(tar.file("/tmp/muster-cp-hostile", "x"), "absolute").empty());
    CHECK_FALSE(fs::exists("/tmp/muster-cp-hostile"));
  }
  SECTION("dots, at once and later") {
    Forgery tar;
    CHECK(refused(tar.file("src/a", "a").file("src/../../beside/kept.txt", "x"), "\"..\"") == "src/\nsrc/a: a\n");
  }
  SECTION("a name that was not asked for") {
    Forgery tar;
    CHECK(refused(tar.file(".bashrc", "x"), "not asked for").empty());
  }
  SECTION("through a link that it made itself") {
    Forgery tar;
    const std::string inside = refused(tar.directory("src").link("src/out", "../../beside").file("src/out/kept.txt", "x"), "leads out");
    CHECK(inside == "src/\nsrc/out/\nsrc/out/kept.txt: x\n");  // the link was left out, and a directory made
  }
  SECTION("through a link that stays inside") {
    Forgery tar;
    tar.directory("src").directory("src/d").link("src/l", "d").file("src/l/x", "x");
    CHECK(refused(tar, "can't write") == "src/\nsrc/d/\nsrc/l -> d\n");
  }
  SECTION("through two links, of which each seems to stay inside") {
    Forgery tar;
    tar.directory("src").link("src/a", ".").link("src/b", "a/../../beside/kept.txt");
    CHECK(refused(tar, "leads out") == "src/\nsrc/a -> .\n");
  }
  SECTION("the top itself as a link") {
    Forgery tar;
    CHECK(refused(tar.link("src", "/etc"), "leads out").empty());
  }
  SECTION("a hard link to a file outside") {
    for (const char* target : {"/etc/passwd", "../beside/kept.txt", "beside/kept.txt"}) {
      Forgery tar;
      tar.file("src/a", "a").hard_link("src/h", target);
      const Unpacked outcome = unpack_into_scratch(tar.take(), "src", "src");
      CHECK(outcome.inside == "src/\nsrc/a: a\n");
      CHECK_FALSE(outcome.said.empty());
      CHECK_FALSE(outcome.outside);
    }
  }
  SECTION("devices, pipes, setuid") {
    Forgery tar;
    tar.special("src/null", AE_IFCHR).special("src/sda", AE_IFBLK).special("src/pipe", AE_IFIFO).file("src/su", "s", 06755);
    CHECK(refused(tar, "neither a file nor") == "src/\nsrc/su x: s\n");
  }
}

TEST_CASE("links that are here already are not followed, and what lies in the way is replaced") {
  const Scratch scratch;
  scratch.write("beside/kept.txt", "kept\n");
  fs::create_directories(scratch.path() / "target/src");
  fs::create_symlink("../../beside/kept.txt", scratch.path() / "target/src/a");
  fs::create_symlink("../../beside", scratch.path() / "target/src/d");
  const CopyTarget to{scratch.path() / "target", "src", "src"};
  Forgery over;
  const std::string file = over.file("src/a", "new\n").take();
  REQUIRE(unpack_tar(in_pieces(file, 512), to));
  Forgery through;
  const std::string below = through.file("src/d/kept.txt", "new\n").take();
  CHECK_FALSE(unpack_tar(in_pieces(below, 512), to));
  CHECK(tree_below(scratch.path()) ==
        "beside/\nbeside/kept.txt: kept\ntarget/\ntarget/src/\ntarget/src/a: new\ntarget/src/d -> ../../beside\n");
}

TEST_CASE("a copy has bounds, and what is no archive is said") {
  Forgery many;
  for (int i = 0; i < 20; ++i) many.file("src/" + std::to_string(i), "x");
  const std::string tar = many.take();
  CHECK(unpack_into_scratch(tar, "src", "src", {1000, 10}).said.find("more than 10 files") != std::string::npos);
  CHECK(unpack_into_scratch(tar, "src", "src", {5, 100}).said.find("more than 5") != std::string::npos);
  CHECK(unpack_into_scratch(tar.substr(0, 3000), "src", "src").said.find("no sound archive") != std::string::npos);
  CHECK(unpack_into_scratch(std::string(4096, 'n'), "src", "src").said.find("no sound archive") != std::string::npos);

  // A header that claims more than any disk has.
  std::string huge = Forgery().file("src/huge", "x").take();
  const std::size_t header = huge.find("src/huge");
  huge.replace(header + 124, 12, "77777777777\0", 12);
  unsigned sum = 0;
  huge.replace(header + 148, 8, "        ");
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(huge[header + i]);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  huge.replace(header + 148, 7, std::string(text, 7));
  CHECK(unpack_into_scratch(huge, "src", "src", {1ull << 30, 10}).said.find("more than 1") != std::string::npos);

  const Scratch scratch;
  scratch.write("top/a", std::string(2000, 'a'));
  const auto none = [](std::string) { return true; };
  CHECK(pack_tar(scratch.path() / "top", "top", none, {1000, 10}).error().code == Errc::refused);
  CHECK(pack_tar(scratch.path() / "none", "top", none).error().code == Errc::io);
  CHECK(pack_tar(scratch.path() / "top", "top", [](std::string) { return false; }).error().code == Errc::unreachable);
}

}  // namespace
}  // namespace muster::cli
