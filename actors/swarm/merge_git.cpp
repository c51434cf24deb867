#include "actors/swarm/merge_git.hpp"

#include <charconv>

#include "actors/ports/git_names.hpp"

namespace muster::actors::swarm {
namespace {

constexpr int kConflicts = 1;  ///< git merge-tree's exit code.
constexpr std::size_t kMaxNotePaths = 1000;

/// Takes the next field, up to a NUL.
bool take_field(std::string_view& rest, std::string_view& field) {
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return false;
  field = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return true;
}

template <class Number>
bool parse_number(std::string_view text, Number& number, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc{} && end == text.data() + text.size();
}

/// MODE SP ID SP STAGE TAB PATH
bool note_stage(std::string_view field, std::vector<Conflict>& conflicts) {
  const std::size_t tab = field.find('\t');
  if (tab == std::string_view::npos || tab < 44) return false;
  const std::string_view head = field.substr(0, tab);
  const std::size_t space = head.find(' ');
  FileVersion version;
  int stage = 0;
  if (space == std::string_view::npos || head.size() != space + 43 ||
      !parse_number(head.substr(0, space), version.mode, 8) ||
      !check_commit_id(head.substr(space + 1, 40)) ||
      !parse_number(head.substr(space + 42), stage, 10) || stage < 1 || stage > 3)
    return false;
  version.id = git::parse_id(head.substr(space + 1, 40));
  const std::string path(field.substr(tab + 1));
  if (conflicts.empty() || conflicts.back().path != path) conflicts.push_back({path, {}, {}, {}});
  Conflict& conflict = conflicts.back();
  (stage == 1 ? conflict.base : stage == 2 ? conflict.ours : conflict.theirs) = version;
  return true;
}

/// COUNT, so many paths, TYPE, TEXT.
bool take_note(std::string_view& rest, MergeNote& note) {
  std::string_view field;
  std::size_t count = 0;
  if (!take_field(rest, field) || !parse_number(field, count, 10) || count > kMaxNotePaths)
    return false;
  for (; count > 0; --count) {
    if (!take_field(rest, field)) return false;
    note.paths.emplace_back(field);
  }
  if (!take_field(rest, field)) return false;
  note.type = field;
  if (!take_field(rest, field)) return false;
  note.text = field.substr(0, field.find_last_not_of('\n') + 1);
  return true;
}

tl::unexpected<Error> unreadable() {
  return fail(Errc::corrupt, "git merge-tree said something that is not known here");
}

}  // namespace

Result<GitMerge> parse_merge_tree(std::string_view output) {
  GitMerge merge;
  std::string_view field;
  if (!take_field(output, field) || !check_commit_id(field)) return unreadable();
  merge.tree = git::parse_id(field);
  while (!output.empty() && take_field(output, field) && !field.empty())
    if (!note_stage(field, merge.conflicts)) return unreadable();
  while (!output.empty())
    if (!take_note(output, merge.notes.emplace_back())) return unreadable();
  return merge;
}

Result<GitMerge> merge_with_git(MergeObjects& objects, const git_oid& ours, const git_oid& theirs) {
  if (auto ok = objects.spill(); !ok) return tl::unexpected<Error>(ok.error());
  const auto done = objects.run_git({"merge-tree", "--write-tree", "-z", "--messages",
                                     git::to_string(ours), git::to_string(theirs)});
  if (!done) return tl::unexpected<Error>(done.error());
  if (!done->ok() && done->exit_code != kConflicts)
    return fail(Errc::refused, "git can't merge: " + clean_message(done->err));
  auto merge = parse_merge_tree(done->out);
  if (!merge) return merge;
  merge->clean = done->ok();
  git_odb_refresh(objects.all());
  if (auto ok = objects.note_tree(merge->tree); !ok) return tl::unexpected<Error>(ok.error());
  return merge;
}

}  // namespace muster::actors::swarm
