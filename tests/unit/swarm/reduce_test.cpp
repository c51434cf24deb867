// Reducers: what many results become, whatever order they come in.
#include "actors/swarm/reduce.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::actors::swarm;
using nlohmann::json;

namespace {

const std::vector<std::string> kNames = {"c", "a", "b", "absent"};

/// The value, then what is worth a word: undecided, missing, left out; or the error.
std::string reduced(const char* declared, const std::map<std::string, json>& results) {
  const auto reducer = parse_reducer(json::parse(declared));
  if (!reducer) return reducer.error().message;
  const auto done = reduce(*reducer, kNames, results);
  if (!done) return std::string(to_string(done.error().code)) + ": " + done.error().message;
  std::string out = done->value.dump();
  if (!done->decided) out += " undecided";
  if (!done->missing.empty()) out += " missing " + json(done->missing).dump();
  if (done->left_out != 0) out += " left out " + std::to_string(done->left_out);
  return out;
}

std::map<std::string, json> each(const char* a, const char* b, const char* c) {
  return {{"a", {{"x", json::parse(a)}}},
          {"b", {{"x", json::parse(b)}}},
          {"c", {{"x", json::parse(c)}}}};
}

constexpr const char* kMissing = " missing [\"absent\"]";

}  // namespace

TEST_CASE("union by key, with each rule for what differs") {
  const auto results = each(R"([{"k":1,"v":"a"},{"k":2,"v":"same"}])",
                            R"([{"k":2,"v":"same"},{"k":3,"v":"b"}])", R"([{"k":1,"v":"c"}])");
  const auto with = [&](const std::string& rule) {
    return reduced(
        (R"({"kind":"union","from":"/x","key":"/k","on_conflict":")" + rule + "\"}").c_str(),
        results);
  };
  CHECK(with("first") ==
        R"([{"k":1,"v":"a"},{"k":2,"v":"same"},{"k":3,"v":"b"}])" + std::string(kMissing));
  CHECK(with("last") ==
        R"([{"k":1,"v":"c"},{"k":2,"v":"same"},{"k":3,"v":"b"}])" + std::string(kMissing));
  CHECK(with("all") == R"([{"k":1,"v":"a"},{"k":1,"v":"c"},{"k":2,"v":"same"},{"k":3,"v":"b"}])" +
                           std::string(kMissing));
  CHECK(with("refuse") == "conflict: facets a and c differ about 1");
  CHECK(reduced(R"({"kind":"union","from":"/x","key":"/k"})", each("[{}]", "[]", "[]")) ==
        "invalid: facet a: an item without its key /k");
  CHECK(reduced(R"({"kind":"union","from":"/x","key":"/k"})", each("1", "[]", "[]")) ==
        "invalid: facet a: must be a list");
}

TEST_CASE("sums, and the least and the greatest") {
  const auto results = each("3", "-1", "2");
  CHECK(reduced(R"({"kind":"sum","from":"/x"})", results) == "4" + std::string(kMissing));
  CHECK(reduced(R"({"kind":"min","from":"/x"})", results) == "-1" + std::string(kMissing));
  CHECK(reduced(R"({"kind":"max","from":"/x"})", results) == "3" + std::string(kMissing));
  CHECK(reduced(R"({"kind":"sum","from":"/x"})", each("0.5", "1", "2")) ==
        "3.5" + std::string(kMissing));
  CHECK(reduced(R"({"kind":"sum","from":"/x"})", each("9223372036854775807", "1", "0"))
            .starts_with("9.22"));
  CHECK(reduced(R"({"kind":"sum","from":"/x"})", each("1", "\"2\"", "3")) ==
        "invalid: facet b: must be a number");
  CHECK(reduced(R"({"kind":"min","from":"/y"})", results).starts_with("null undecided"));
}

TEST_CASE("lists one after the other, ordered, and cut where said") {
  const auto results = each(R"([{"l":3}])", R"([{"l":1},{"l":2}])", R"([{"l":1,"c":0}])");
  CHECK(reduced(R"({"kind":"concat","from":"/x"})", results) ==
        R"([{"l":3},{"l":1},{"l":2},{"c":0,"l":1}])" + std::string(kMissing));
  CHECK(reduced(R"({"kind":"concat","from":"/x","order_by":"/l","limit":3})", results) ==
        R"([{"l":1},{"c":0,"l":1},{"l":2}])" + std::string(kMissing) + " left out 1");
  CHECK(reduced(R"({"kind":"top","from":"/x","by":"/l","limit":2})", results) ==
        R"([{"l":3},{"l":2}])" + std::string(kMissing) + " left out 2");
  CHECK(reduced(R"({"kind":"top","from":"/x","by":"/c"})", results) ==
        "invalid: facet a: an item without /c");
}

TEST_CASE("a vote is decided by its quorum, and never by a tie") {
  const auto two = each("\"yes\"", "\"no\"", "\"yes\"");
  const std::string votes =
      R"("votes":[{"facets":["b"],"value":"no"},{"facets":["a","c"],"value":"yes"}])";
  // Two of four facets are no majority: the one that is absent counts.
  CHECK(reduced(R"({"kind":"vote","from":"/x"})", two) ==
        R"({"value":null,)" + votes + "} undecided" + kMissing);
  CHECK(reduced(R"({"kind":"vote","from":"/x","quorum":2})", two) ==
        R"({"value":"yes",)" + votes + "}" + kMissing);
  CHECK(
      reduced(R"({"kind":"vote","from":"/x","quorum":1})", each("1", "2", "3")).find("undecided") !=
      std::string::npos);
}

TEST_CASE("a declaration's mistakes are named") {
  CHECK(reduced(R"({"kind":"onion","from":"/x"})", {}).find("kind must be one of union, sum") !=
        std::string::npos);
  CHECK(reduced(R"({"kind":"sum"})", {}) == "reducer: from is missing");
  CHECK(reduced(R"({"kind":"sum","from":"x"})", {}).find("JSON pointer") != std::string::npos);
  CHECK(reduced(R"({"kind":"top","from":"/x","by":"/y","limit":0})", {}) ==
        "reducer: limit must be a count");
  CHECK(reduced(R"({"kind":"sum","from":"/x","limit":1})", {}) == "reducer: unknown key limit");
  CHECK(reduced("[]", {}) == "reducer: must be a mapping");
}
