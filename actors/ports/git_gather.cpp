#include "actors/ports/git_gather.hpp"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "actors/ports/git_files.hpp"
#include "actors/ports/git_names.hpp"

namespace muster::actors::git {
namespace {

constexpr Duration kGatherTimeout{300'000};
constexpr std::string_view kMultiPackIndex = "multi-pack-index";

/// Files of one pack: what follows its name.
using Extensions = std::set<std::string>;

struct PackListing {
  std::map<std::string, Extensions> ours;
  bool has_multi_pack_index = false;
};

struct GatheredPack {
  std::string name;
  std::uint64_t bytes = 0;
};

Result<PackListing> list_packs(int pack_directory) {
  auto opened = open_directory(pack_directory, "");
  if (!opened) return tl::unexpected<Error>(opened.error());
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(opened->get()), closedir);
  if (entries == nullptr) return fail_errno("objects/pack", errno);
  opened->release();
  PackListing listing;
  while (const dirent* entry = readdir(entries.get())) {
    const std::string_view file = entry->d_name;
    const std::size_t dot = std::min(file.find('.'), file.size());
    if (file == kMultiPackIndex) listing.has_multi_pack_index = true;
    if (!installed_by_muster(file.substr(0, dot))) continue;
    if (listing.ours.size() == kMaxGatheredPacks) break;
    listing.ours[std::string(file.substr(0, dot))].emplace(file.substr(dot));
  }
  return listing;
}

bool whole(const Extensions& has) {
  return has.count(".pack") != 0 && has.count(".idx") != 0;
}

/// Nobody asked to leave it alone.
bool unmarked(const Extensions& has) {
  return std::all_of(has.begin(), has.end(), [](const std::string& extension) {
    return extension == ".pack" || extension == ".idx" || extension == ".rev";
  });
}

/// The smallest first; equal ones by name, so that the same packs give the same.
Result<std::vector<GatheredPack>> candidates(const PackListing& listing, int pack_directory) {
  std::vector<GatheredPack> packs;
  for (const auto& [name, has] : listing.ours) {
    if (!whole(has) || !unmarked(has)) continue;
    struct stat info {};
    if (fstatat(pack_directory, (name + ".pack").c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // git gc was faster
      return fail_errno(name, errno);
    }
    if (S_ISREG(info.st_mode)) packs.push_back({name, static_cast<std::uint64_t>(info.st_size)});
  }
  std::stable_sort(packs.begin(), packs.end(),
                   [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  return packs;
}

bool before(const git_oid& a, const git_oid& b) {
  return git_oid_cmp(&a, &b) < 0;
}

/// Of all these packs, each id once, in order.
Result<std::vector<git_oid>> ids_in(const std::vector<std::string>& index_files) {
  std::vector<git_oid> all;
  for (const std::string& file : index_files) {
    const auto odb = open_pack(file);
    if (!odb) return tl::unexpected<Error>(odb.error());
    const auto ids = objects_of(odb->get());
    if (!ids) return ids;
    all.insert(all.end(), ids->begin(), ids->end());
  }
  std::sort(all.begin(), all.end(), before);
  all.erase(std::unique(all.begin(), all.end(), IdEqual{}), all.end());
  return all;
}

/// By git, which takes what is packed as it is, deltas too, and checks it on the way.
Result<IndexedPack> write_gathered(const std::vector<git_oid>& ids, const std::string& objects,
                                   const std::filesystem::path& directory) {
  const std::filesystem::path repository = directory / "gather.git";
  if (auto ok = make_empty_repository(repository); !ok) return tl::unexpected<Error>(ok.error());
  ProcessSpec spec =
      git_over(repository, objects,
               {"pack-objects", "-q", "--window=0", "--delta-base-offset", "--threads=1",
                (directory / "pack").string()});
  spec.input.reserve(ids.size() * (GIT_OID_HEXSZ + 1));
  for (const git_oid& id : ids) spec.input += to_string(id) + '\n';
  spec.timeout = kGatherTimeout;
  auto hash = run_checked(spec);
  if (!hash) return tl::unexpected<Error>(hash.error());
  while (!hash->empty() && hash->back() == '\n') hash->pop_back();
  if (!check_commit_id(*hash)) return fail(Errc::corrupt, "git pack-objects names no pack");
  IndexedPack pack{directory, "pack-" + *hash};
  const auto held = ids_in({pack.file(".idx")});
  if (!held) return tl::unexpected<Error>(held.error());
  if (!std::equal(held->begin(), held->end(), ids.begin(), ids.end(), IdEqual{}))
    return fail(Errc::corrupt, "the gathered pack does not hold what its parts hold");
  return pack;
}

/// The index first, as git does it: what has none is no pack.
void remove_pack(int pack_directory, const std::string& name) {
  for (const char* extension : {".idx", ".rev", ".pack"})
    unlinkat(pack_directory, (name + extension).c_str(), 0);
}

/// While nobody installs. Also what a death left without its pack or its index.
Result<void> remove_gathered(int pack_directory, const std::set<std::string>& gathered) {
  const DirectoryLock lock(pack_directory, LOCK_EX);
  if (!lock.held()) return fail_errno("lock objects/pack", errno);
  const auto listing = list_packs(pack_directory);
  if (!listing) return tl::unexpected<Error>(listing.error());
  if (listing->has_multi_pack_index) return {};
  for (const auto& [name, has] : listing->ours)
    if (unmarked(has) && (!whole(has) || gathered.count(name) != 0))
      remove_pack(pack_directory, name);
  return {};
}

}  // namespace

std::size_t packs_to_gather(const std::vector<std::uint64_t>& sizes) {
  std::uint64_t smaller = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < sizes.size() && sizes[i] <= kMaxGatheredBytes - smaller; ++i) {
    if (sizes[i] <= smaller) count = i + 1;
    smaller += sizes[i];
  }
  return count < kFewestGathered ? 0 : count;
}

Result<std::size_t> gather_packs(const std::string& objects, int pack_directory,
                                 const std::filesystem::path& scratch) {
  const auto listing = list_packs(pack_directory);
  if (!listing) return tl::unexpected<Error>(listing.error());
  if (listing->has_multi_pack_index) return 0;
  const auto packs = candidates(*listing, pack_directory);
  if (!packs) return tl::unexpected<Error>(packs.error());
  std::vector<std::uint64_t> sizes;
  for (const GatheredPack& pack : *packs) sizes.push_back(pack.bytes);
  const std::size_t count = packs_to_gather(sizes);
  if (count == 0) return 0;

  std::set<std::string> gathered;
  std::vector<std::string> index_files;
  for (std::size_t i = 0; i < count; ++i) {
    gathered.insert((*packs)[i].name);
    index_files.push_back(objects + "/pack/" + (*packs)[i].name + ".idx");
  }
  const auto directory = ScratchDirectory::make(scratch);
  if (!directory) return tl::unexpected<Error>(directory.error());
  const auto ids = ids_in(index_files);
  if (!ids) return tl::unexpected<Error>(ids.error());
  const auto pack = write_gathered(*ids, objects, directory->path());
  if (!pack) return tl::unexpected<Error>(pack.error());
  if (auto ok = install_pack(*pack, pack_directory); !ok) return tl::unexpected<Error>(ok.error());
  gathered.erase(installed_name(*pack));  // when one of them held all that the others hold
  if (auto ok = remove_gathered(pack_directory, gathered); !ok)
    return tl::unexpected<Error>(ok.error());
  return count;
}

}  // namespace muster::actors::git
