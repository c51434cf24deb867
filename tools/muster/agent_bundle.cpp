#include "tools/muster/agent_bundle.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "storage/base/files.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using actors::Problem;

constexpr std::size_t kMaxFiles = 10'000;

struct Entry {
  fs::path source;
  bool executable = false;
  bool symlink = false;
};
using Entries = std::map<std::string, Entry>;  // by path in the bundle: sorted

// One POSIX ustar header; mode, owner and time are fixed so that equal contents are equal bytes.
bool put_header(std::string& tar, const std::string& path, const Entry& entry, std::size_t size,
                const std::string& target) {
  std::array<char, 512> header{};
  std::string name = path, prefix;
  if (name.size() > 100) {
    const std::size_t slash = name.rfind('/', 155);
    if (slash == std::string::npos || name.size() - slash - 1 > 100) return false;
    prefix = name.substr(0, slash);
    name = name.substr(slash + 1);
  }
  if (target.size() > 100) return false;
  const auto put = [&](std::size_t offset, const std::string& text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  const auto octal = [&](std::size_t offset, int digits, std::size_t value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%0*zo", digits, value);
    put(offset, text.data());
  };
  put(0, name);
  octal(100, 7, entry.executable || entry.symlink ? 0755 : 0644);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, 0);
  put(148, "        ");
  header[156] = entry.symlink ? '2' : '0';
  put(157, target);
  put(257, "ustar");
  put(263, "00");
  put(345, prefix);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  octal(148, 6, sum);
  header[154] = '\0';
  tar.append(header.data(), header.size());
  return true;
}

class Collector {
 public:
  Collector(const fs::path& directory, std::vector<Problem>& problems)
      : directory_(fs::weakly_canonical(directory)), problems_(problems) {}

  /// The path relative to the fleet file's directory, or "" when it leads outside.
  [[nodiscard]] std::string inside(const fs::path& path) const {
    std::error_code error;
    // Only the parent is resolved: a symbolic link travels as one.
    const fs::path whole = (directory_ / path).lexically_normal();
    const fs::path name =
        whole.filename().empty() ? whole.parent_path().filename() : whole.filename();
    const fs::path parent = fs::weakly_canonical(
        whole.filename().empty() ? whole.parent_path().parent_path() : whole.parent_path(), error);
    const std::string relative = (parent / name).lexically_relative(directory_).generic_string();
    return relative.empty() || relative == ".." || relative.starts_with("../") ? "" : relative;
  }

  void add(const std::string& written, const std::string& pointer) {
    const std::string relative = inside(written);
    if (relative.empty() || fs::path(written).is_absolute())
      return problem(pointer, "\"" + written + "\" must lie below the fleet file's directory");
    const auto status = fs::symlink_status(directory_ / relative);
    if (fs::is_directory(status)) return add_tree(relative, pointer);
    if (!fs::exists(status))
      return problem(pointer, "there is no " + (directory_ / relative).string());
    add_file(relative, pointer, status);
  }

  /// A file by itself; `written` becomes its path in the bundle.
  void add_placed(std::string& written, const std::string& pointer) {
    const std::string relative = inside(written);
    if (!relative.empty() && !fs::path(written).is_absolute() &&
        !fs::is_regular_file(fs::symlink_status(directory_ / relative)))
      return problem(pointer, fs::exists(directory_ / relative)
                                  ? relative + " is not a plain file"
                                  : "there is no " + (directory_ / relative).string());
    add(written, pointer);
    if (!relative.empty()) written = relative;
  }

  void add_script(const std::string& relative) {
    entries_[relative] = {directory_ / relative, true, false};
  }

  [[nodiscard]] const fs::path& directory() const { return directory_; }

  std::string tar(std::vector<std::string>& files) {
    std::string out;
    for (const auto& [path, entry] : entries_)
      if (append(out, path, entry)) files.push_back(path);
    if (!out.empty()) out.append(1024, '\0');
    return out;
  }

 private:
  void problem(const std::string& pointer, std::string message) {
    problems_.push_back({pointer, std::move(message)});
  }

  void add_tree(const std::string& relative, const std::string& pointer) {
    std::error_code error;
    for (fs::recursive_directory_iterator at(directory_ / relative, error), end;
         !error && at != end; at.increment(error)) {
      if (at->is_directory() && !at->is_symlink()) continue;
      add_file(at->path().lexically_relative(directory_).generic_string(), pointer,
               at->symlink_status());
      if (entries_.size() > kMaxFiles)
        return problem(pointer, "more than " + std::to_string(kMaxFiles) + " files would travel");
    }
    if (error) problem(pointer, "can't read " + relative + ": " + error.message());
  }

  void add_file(const std::string& relative, const std::string& pointer, fs::file_status status) {
    Entry entry{directory_ / relative,
                (status.permissions() & fs::perms::owner_exec) != fs::perms::none,
                fs::is_symlink(status)};
    if (entry.symlink) {
      const fs::path target = fs::read_symlink(entry.source);
      if (target.is_absolute() || inside(fs::path(relative).parent_path() / target).empty())
        return problem(
            pointer,
            relative + " is a symbolic link that leads outside the fleet file's directory");
    } else if (!fs::is_regular_file(status)) {
      return problem(pointer, relative + " is neither a file nor a directory");
    }
    entries_.try_emplace(relative, std::move(entry));
  }

  bool append(std::string& out, const std::string& path, const Entry& entry) {
    std::string bytes, target;
    if (entry.symlink) {
      target = fs::read_symlink(entry.source).string();
    } else {
      auto read = read_file(entry.source, kMaxBundleBytes);
      if (!read) {
        problem("/agent/files", read.error().message);
        return false;
      }
      bytes = std::move(*read);
    }
    if (out.size() + bytes.size() + 2048 > kMaxBundleBytes) {
      if (!full_) problem("/agent/files", "script and files are more than 64MiB together");
      full_ = true;
      return false;
    }
    if (!put_header(out, path, entry, bytes.size(), target)) {
      problem("/agent/files", "the path is too long to travel: " + path);
      return false;
    }
    out += bytes;
    out.append((512 - bytes.size() % 512) % 512, '\0');
    return true;
  }

  fs::path directory_;
  std::vector<Problem>& problems_;
  Entries entries_;
  bool full_ = false;
};

std::string first_word(const actors::Command& run) {
  if (run.shell.empty()) return run.argv.empty() ? "" : run.argv.front();
  const std::size_t begin = run.shell.find_first_not_of(" \t\n");
  const std::size_t end = std::min(run.shell.find_first_of(" \t\n", begin), run.shell.size());
  const std::string word = run.shell.substr(begin, end - begin);
  return shell_quoted(word) == word ? word : "";
}

/// Points the command at the script's place in the sandbox.
void resolve(actors::Command& run, const std::string& word, const std::string& path) {
  const std::string script = "\"$MUSTER_AGENT_DIR\"/" + shell_quoted(path);
  if (!run.shell.empty()) {
    run.shell.replace(run.shell.find(word), word.size(), script);
    return;
  }
  std::vector<std::string> argv{"sh", "-c", "exec " + script + " \"$@\"", path};
  argv.insert(argv.end(), run.argv.begin() + 1, run.argv.end());
  run.argv = std::move(argv);
}

}  // namespace

AgentBundle bundle_agent(actors::FleetSpec& spec, const fs::path& directory,
                         std::vector<Problem>& problems, const std::set<std::string>& scripts) {
  Collector collector(directory, problems);
  for (std::size_t i = 0; i < spec.agent.files.size(); ++i)
    collector.add(spec.agent.files[i], "/agent/files/" + std::to_string(i));
  for (std::size_t i = 0; i < spec.environment.files.size(); ++i)
    collector.add_placed(spec.environment.files[i].source,
                         "/environment/files/" + std::to_string(i) + "/source");
  for (const std::string& script : scripts) collector.add_script(script);
  const std::string word = first_word(spec.agent.run);
  if (word.find('/') != std::string::npos) {
    const std::string relative = collector.inside(word);
    if (!relative.empty() && fs::is_regular_file(collector.directory() / relative)) {
      collector.add_script(relative);
      resolve(spec.agent.run, word, relative);
    } else if (word.starts_with("./") || word.starts_with("../")) {
      problems.push_back(
          {"/agent/run",
           relative.empty()
               ? "\"" + word + "\" must lie below the fleet file's directory to travel with it"
               : "there is no file " + word +
                     " beside the fleet file; a script of the repository itself is run by \"bash " +
                     word + "\""});
    }
  }
  AgentBundle bundle;
  bundle.tar = collector.tar(bundle.files);
  return bundle;
}

}  // namespace muster::cli
