#include "tools/musterd/refusal_meter.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace muster;
using namespace muster::musterd;

namespace {

struct Metered {
  void knock(const char* outcome, std::int64_t at_ms) {
    meter.note({"eve", "", "", "GET /v1/fleets", "/v1/fleets", outcome, "", ""}, Instant{at_ms});
  }
  [[nodiscard]] std::string told() const {
    std::string text;
    for (const AuditNote& note : notes)
      text += note.outcome + (note.detail.empty() ? "" : ": " + note.detail) + "\n";
    return text;
  }
  std::vector<AuditNote> notes;
  RefusalMeter meter{2, [this](AuditNote note) { notes.push_back(std::move(note)); }};
};

constexpr std::int64_t kBegin = 1'800'000'000'000;

}  // namespace

TEST_CASE_METHOD(Metered, "refusals beyond their rate are counted, what was done never is") {
  for (int i = 0; i < 500; ++i) {
    knock("refused", kBegin + i);
    knock("403", kBegin + i);
  }
  knock("200", kBegin + 600);
  CHECK(told() == "refused\n403\n200\n");
  CHECK(meter.not_kept() == 998);
  meter.close();
  meter.close();
  CHECK(told() == "refused\n403\n200\nnot kept: 998 refusals more than are kept one by one\n");
  CHECK(notes.back().action == "audit.refusals");
}

TEST_CASE_METHOD(Metered,
                 "the first note after the window writes the count, and a new window begins") {
  for (int i = 0; i < 5; ++i) knock("401", kBegin + i);
  knock("200", kBegin + 59'999);
  knock("201", kBegin + 60'000);
  for (int i = 0; i < 3; ++i) knock("401", kBegin + 60'001);
  CHECK(told() ==
        "401\n401\n200\nnot kept: 3 refusals more than are kept one by one\n201\n401\n401\n");
  // A clock that was set back passes nothing over for long.
  knock("401", kBegin - 3'600'000);
  CHECK(notes.back().outcome == "401");
  CHECK(meter.not_kept() == 4);
}
