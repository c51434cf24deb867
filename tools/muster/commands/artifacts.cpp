// muster run artifacts: lists what an attempt left, or writes it to a directory.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/table.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxTar = 128u << 20;

/// The attempt that is meant: the given one, else the newest that left any.
const Json* attempt_with_artifacts(const Json& run, unsigned wanted) {
  const Json* found = nullptr;
  for (const Json& attempt : list(run, "attempts"))
    if (!list(attempt, "artifacts").empty() && (wanted == 0 || num(attempt, "attempt") == wanted))
      found = &attempt;
  return found;
}

/// "a/b", and nothing that leads out of the directory: the server is not trusted with ours.
bool is_inside(const fs::path& path) {
  if (path.empty() || path.is_absolute()) return false;
  for (const fs::path& part : path)
    if (part.empty() || part == "." || part == "..") return false;
  return true;
}

/// Files of the tar, each as whole as its digest says, written to where nothing lies yet.
class Unpacker {
 public:
  Unpacker(std::string_view tar, const Json& files, fs::path directory)
      : files_(files), directory_(std::move(directory)), tar_(::archive_read_new()) {
    ::archive_read_support_format_tar(tar_);
    open_ = ::archive_read_open_memory(tar_, tar.data(), tar.size()) == ARCHIVE_OK;
  }
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;
  ~Unpacker() { ::archive_read_free(tar_); }

  Result<std::size_t> unpack() {
    archive_entry* entry = nullptr;
    std::size_t written = 0;
    while (open_ && ::archive_read_next_header(tar_, &entry) == ARCHIVE_OK) {
      if (auto done = write(entry); !done) return tl::unexpected<Error>(done.error());
      ++written;
    }
    if (written != files_.size()) return fail(Errc::corrupt, "not every artefact arrived");
    return written;
  }

 private:
  Result<void> write(archive_entry* entry) {
    const char* name = ::archive_entry_pathname(entry);
    const std::string path = name != nullptr ? name : "";
    const Json* listed = nullptr;
    for (const Json& file : files_)
      if (str(file, "path") == path) listed = &file;
    if (listed == nullptr || !is_inside(path))
      return fail(Errc::corrupt, "the archive holds " + safe_line(path) + ", which is not listed");
    std::string bytes(count(*listed, "bytes"), '\0');
    const la_ssize_t n = ::archive_read_data(tar_, bytes.data(), bytes.size());
    if (n != static_cast<la_ssize_t>(bytes.size()) || sha256_hex(bytes) != str(*listed, "sha256"))
      return fail(Errc::corrupt, safe_line(path) + " arrived damaged");
    return put(directory_ / path, bytes, (count(*listed, "mode") & 0100) != 0 ? 0755 : 0644);
  }

  static Result<void> put(const fs::path& path, std::string_view bytes, mode_t mode) {
    if (auto made = make_directory(path.parent_path()); !made) return made;
    const Fd to(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!to.valid() && errno == EEXIST) return fail(Errc::conflict, path.string() + " is there already");
    if (!to.valid()) return fail_errno("create " + path.string(), errno);
    while (!bytes.empty()) {
      const ssize_t n = ::write(to.get(), bytes.data(), bytes.size());
      if (n < 0) return fail_errno("write " + path.string(), errno);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  const Json& files_;
  const fs::path directory_;
  struct archive* tar_;
  bool open_ = false;
};

std::string listing(const Json& attempt, const Look& look) {
  Table table({{"PATH"}, {"SIZE", Table::Align::right}, {"MODE"}, {"SHA-256"}});
  for (const Json& file : list(attempt, "artifacts"))
    table.add({str(file, "path"), human_bytes(count(file, "bytes")),
               (count(file, "mode") & 0100) != 0 ? "0755" : "0644",
               str(file, "sha256").substr(0, 12)});
  return table.text(look);
}

}  // namespace

int run_artifacts(Context& context, const std::string& id, unsigned wanted, const std::string& output) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto run = (*client)->get(run_path(id));
  if (!run) return context.fail(run.error());
  const Json* attempt = attempt_with_artifacts(*run, wanted);
  if (attempt == nullptr)
    return context.fail({Errc::not_found, "run " + id + " has left no artefacts",
                         "an agent leaves them in $MUSTER_OUTPUT/artifacts"});
  const std::string number = std::to_string(num(*attempt, "attempt"));
  if (!output.empty()) {
    std::string tar;
    const auto done = (*client)->download(
        with_query(run_path(id) + "/artifacts", {{"attempt", number}}), [&](std::string_view bytes) {
          tar.append(bytes);
          return tar.size() <= kMaxTar;
        });
    if (!done) return context.fail(done.error());
    const auto written = Unpacker(tar, list(*attempt, "artifacts"), output).unpack();
    if (!written) return context.fail({written.error().code, written.error().message, ""});
  }
  if (context.json())
    context.out() << dumped({{"run", str(*run, "id")},
                             {"attempt", num(*attempt, "attempt")},
                             {"output", output},
                             {"artifacts", list(*attempt, "artifacts")}},
                            2)
                  << "\n";
  else if (output.empty())
    context.out() << listing(*attempt, context.io().out.look);
  else
    context.out() << "Wrote " << plural(list(*attempt, "artifacts").size(), "file") << " to "
                  << safe_line(output) << "\n";
  return 0;
}

}  // namespace muster::cli
