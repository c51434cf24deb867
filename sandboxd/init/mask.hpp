// Secrets in a stream of bytes become "***", also when they come in pieces. Pure, no allocation beyond what it holds
// back: at most one byte less than the longest secret. Used by muster-init for every step's output, before it becomes
// log, and by sandboxd for whole texts.
//
//   Mask mask;
//   mask.add("s3cret");
//   Mask::Stream out;                  // one for each stream: stdout and stderr don't complete each other's secrets
//   mask.feed(out, "a s3c", text);     // text == "a "
//   mask.feed(out, "ret b", text);     // text == "a *** b"
//   mask.finish(out, text);            // what was held back as a possible beginning
//
// What is masked is the union of all occurrences, so that two secrets that overlap hide each other's ends. Of a secret
// with several lines, each line counts too: programs print them one by one. It is a guard against accidents: who wants to
// give a secret away can encode it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::sandbox {

class Mask {
 public:
  /// Shorter ones would hide half of every log.
  static constexpr std::size_t kShortest = 4;
  static constexpr std::string_view kInstead = "***";

  struct Stream {
    std::string held;        ///< Received and not decided.
    std::size_t hidden = 0;  ///< So many bytes at its front belong to an occurrence that began before.
    bool hiding = false;     ///< The last decided byte was hidden.
  };

  /// False when it is too short to be masked.
  bool add(std::string_view secret) {
    while (!secret.empty() && secret.back() == '\n') secret.remove_suffix(1);
    if (secret.size() < kShortest) return false;
    insert(secret);
    if (secret.find('\n') == std::string_view::npos) return true;
    while (!secret.empty()) {
      std::string_view line = secret.substr(0, secret.find('\n'));
      secret.remove_prefix(line.size() < secret.size() ? line.size() + 1 : secret.size());
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line.size() >= kShortestLine) insert(line);
    }
    return true;
  }

  [[nodiscard]] bool empty() const { return secrets_.empty(); }

  /// Appends to `to` what can be decided.
  void feed(Stream& stream, std::string_view bytes, std::string& to) const {
    if (secrets_.empty()) {
      to.append(bytes);
      return;
    }
    if (stream.held.empty()) {
      decide(stream, bytes, false, to);
    } else {
      stream.held.append(bytes);
      const std::string all = std::move(stream.held);
      stream.held.clear();
      decide(stream, all, false, to);
    }
  }

  /// No more will come: appends what was held back.
  void finish(Stream& stream, std::string& to) const {
    const std::string rest = std::move(stream.held);
    stream.held.clear();
    decide(stream, rest, true, to);
    stream = {};
  }

  /// A whole text.
  [[nodiscard]] std::string masked(std::string_view text) const {
    Stream stream;
    std::string out;
    feed(stream, text, out);
    finish(stream, out);
    return out;
  }

 private:
  static constexpr std::size_t kShortestLine = 8;

  void insert(std::string_view secret) {
    secrets_.emplace_back(secret);
    begins_[static_cast<unsigned char>(secret.front())] = true;
  }

  /// The longest secret that stands at the front of `rest`; `open`: a secret may stand there that `rest` is too short for.
  std::size_t at_front(std::string_view rest, bool& open) const {
    std::size_t longest = 0;
    for (const std::string& secret : secrets_) {
      if (secret.size() <= longest) continue;
      const std::size_t known = secret.size() < rest.size() ? secret.size() : rest.size();
      if (rest.substr(0, known) != std::string_view(secret).substr(0, known)) continue;
      if (known == secret.size()) {
        longest = known;
      } else {
        open = true;
      }
    }
    return longest;
  }

  void decide(Stream& stream, std::string_view bytes, bool last, std::string& to) const {
    std::size_t at = 0, plain = 0;  // bytes[plain, at) are decided, not hidden and not yet appended
    while (at < bytes.size()) {
      if (begins_[static_cast<unsigned char>(bytes[at])]) {
        bool open = false;
        const std::size_t found = at_front(bytes.substr(at), open);
        if (found > stream.hidden) stream.hidden = found;
        if (open && !last) break;
      }
      if (stream.hidden == 0) {
        stream.hiding = false;
        ++at;
        continue;
      }
      to.append(bytes.substr(plain, at - plain));
      if (!stream.hiding) to.append(kInstead);
      stream.hiding = true;
      --stream.hidden;
      plain = ++at;
    }
    to.append(bytes.substr(plain, at - plain));
    stream.held.assign(bytes.substr(at));
  }

  std::vector<std::string> secrets_;
  bool begins_[256] = {};
};

}  // namespace muster::sandbox
