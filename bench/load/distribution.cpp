#include "bench/load/distribution.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "actors/spec/units.hpp"
#include "storage/base/time.hpp"

namespace muster::load {

namespace {

using ReadUnit = Result<std::uint64_t> (*)(std::string_view);

Result<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return fail(Errc::invalid, "not a number: '" + std::string(text) + "'");
  return value;
}

}  // namespace

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double Random::unit() {
  return static_cast<double>(next() >> 11) * 0x1.0p-53;
}

/// FNV-1a, stirred.
std::uint64_t seed_of(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u ^ seed;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return Random(hash).next();
}

std::uint64_t Distribution::sample(Random& random, std::uint64_t most) const {
  double value = a_;
  switch (shape_) {
    case Shape::fixed:
      break;
    case Shape::uniform:
      value = a_ + (b_ - a_) * random.unit();
      break;
    case Shape::exponential:
      value = -a_ * std::log1p(-random.unit());
      break;
    case Shape::lognormal: {
      // Box and Muller; the second number is thrown away.
      const double radius = std::sqrt(-2.0 * std::log1p(-random.unit()));
      value = a_ * std::exp(b_ * radius * std::cos(6.283185307179586 * random.unit()));
      break;
    }
  }
  return static_cast<std::uint64_t>(std::clamp(value, 0.0, static_cast<double>(most)));
}

Result<Distribution> parse_distribution(std::string_view text, ReadUnit unit) {
  Distribution made;
  made.text_ = std::string(text);
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon == text.npos ? 0 : colon);
  const std::string_view rest = colon == text.npos ? text : text.substr(colon + 1);
  std::string_view first = rest;
  if (name == "uniform" || name == "lognormal") {
    const std::string_view between = name == "uniform" ? ".." : ",";
    const std::size_t cut = rest.find(between);
    if (cut == rest.npos)
      return fail(Errc::invalid,
                  "'" + made.text_ + "': expected uniform:A..B or lognormal:MEDIAN,SIGMA");
    first = rest.substr(0, cut);
    const std::string_view second = rest.substr(cut + between.size());
    if (name == "uniform") {
      made.shape_ = Distribution::Shape::uniform;
      const auto b = unit(second);
      if (!b) return tl::unexpected<Error>(b.error());
      made.b_ = static_cast<double>(*b);
    } else {
      made.shape_ = Distribution::Shape::lognormal;
      const auto sigma = parse_number(second);
      if (!sigma) return tl::unexpected<Error>(sigma.error());
      if (*sigma < 0 || *sigma > 10) return fail(Errc::invalid, "sigma must be between 0 and 10");
      made.b_ = *sigma;
    }
  } else if (name == "exp") {
    made.shape_ = Distribution::Shape::exponential;
  } else if (!name.empty()) {
    return fail(Errc::invalid, "'" + std::string(name) +
                                   "' is no distribution: fixed (2s), uniform:1s..5s, exp:2s, "
                                   "lognormal:2s,1.0");
  }
  const auto a = unit(first);
  if (!a) return tl::unexpected<Error>(a.error());
  made.a_ = static_cast<double>(*a);
  if (made.shape_ == Distribution::Shape::uniform && made.b_ < made.a_)
    return fail(Errc::invalid, "'" + made.text_ + "': the second is smaller than the first");
  return made;
}

Result<std::uint64_t> parse_millis(std::string_view text) {
  if (text == "0") return 0;
  const auto parsed = parse_duration(std::string(text));
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  return static_cast<std::uint64_t>(parsed->count());
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  return actors::parse_size(text);
}

Result<Distribution> parse_times(std::string_view text) {
  return parse_distribution(text, parse_millis);
}
Result<Distribution> parse_sizes(std::string_view text) {
  return parse_distribution(text, parse_bytes);
}

Result<double> parse_share(std::string_view text) {
  const bool percent = text.ends_with('%');
  const auto number = parse_number(percent ? text.substr(0, text.size() - 1) : text);
  if (!number) return number;
  const double share = percent ? *number / 100 : *number;
  if (share < 0 || share > 1)
    return fail(Errc::invalid, "'" + std::string(text) + "' is not between 0 % and 100 %");
  return share;
}

}  // namespace muster::load
