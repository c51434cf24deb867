#include "tools/musterd/http.hpp"

namespace muster::musterd {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<void> parse_query(std::string_view query, Request& into) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name) return tl::unexpected<Error>(name.error());
    if (!value) return tl::unexpected<Error>(value.error());
    into.query.emplace(std::move(*name), std::move(*value));
  }
  return {};
}

}  // namespace

std::string Request::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

std::string Request::parameter(std::string_view name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (text.size() - i < 3) return fail(Errc::invalid, "a '%' without two hexadecimal digits");
      const int first = hex_digit(text[i + 1]);
      const int second = hex_digit(text[i + 2]);
      if (first < 0 || second < 0)
        return fail(Errc::invalid, "a '%' without two hexadecimal digits");
      out += static_cast<char>(first * 16 + second);
      i += 2;
    }
  }
  if (out.find('\0') != std::string::npos) return fail(Errc::invalid, "a NUL in the address");
  return out;
}

Result<void> parse_target(std::string_view target, Request& into) {
  if (target.empty() || target.front() != '/')
    return fail(Errc::invalid, "the request target must begin with '/'");
  target = target.substr(0, target.find('#'));
  const std::size_t question = std::min(target.find('?'), target.size());
  into.path = std::string(target.substr(0, question));
  std::string_view rest = std::string_view(into.path).substr(1);
  while (!rest.empty()) {
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(segment.size() + 1, rest.size()));
    auto decoded = percent_decode(segment, false);
    if (!decoded) return tl::unexpected<Error>(decoded.error());
    into.segments.push_back(std::move(*decoded));
  }
  return parse_query(target.substr(std::min(question + 1, target.size())), into);
}

}  // namespace muster::musterd
