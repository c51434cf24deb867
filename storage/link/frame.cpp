#include "storage/link/frame.hpp"

#include <flatbuffers/flatbuffers.h>

#include "storage/schema/wire_generated.h"

namespace muster::storage {
namespace {

using Text = flatbuffers::String;
template <class T>
using Tables = flatbuffers::Vector<flatbuffers::Offset<T>>;

constexpr flatbuffers::uoffset_t kMaxDepth = 16;
constexpr flatbuffers::uoffset_t kMaxTables = 8'192;
/// What every named string costs beside its bytes.
constexpr std::size_t kStringCost = 32;

/// Adds up what unpacking costs.
class Size {
 public:
  void add(const Text* text) { bytes_ += kStringCost + (text ? text->size() : 0); }
  void add(const flatbuffers::Vector<std::uint8_t>* bytes) { bytes_ += bytes ? bytes->size() : 0; }
  void add(const Tables<Text>* texts) {
    each(texts, [this](const Text& text) { add(&text); });
  }
  void add(const Tables<wire::KeyValue>* pairs) {
    each(pairs, [this](const wire::KeyValue& pair) {
      add(pair.key());
      add(pair.value());
    });
  }
  /// Stops as soon as the sum is too much, so that the check costs no more than what it allows.
  template <class T, class F>
  void each(const Tables<T>* items, F f) {
    if (!items) return;
    for (const T* item : *items) {
      if (!fits()) return;
      f(*item);
    }
  }
  [[nodiscard]] bool fits() const { return bytes_ <= kMaxUnpackedFrame; }

 private:
  std::size_t bytes_ = 0;
};

void measure(Size& size, const wire::Checkpoint* checkpoint) {
  if (!checkpoint) return;
  for (const Text* text : {checkpoint->commit(), checkpoint->base(), checkpoint->digest()}) size.add(text);
}

void measure(Size& size, const wire::AttemptReport* report) {
  if (!report) return;
  measure(size, report->checkpoint());
  size.add(report->resumed());
  for (const Text* text :
       {report->reason(), report->message(), report->base_sha(), report->head_sha(),
        report->tree_sha(), report->pack_digest(), report->summary(), report->result_json(),
        report->artifacts_digest()})
    size.add(text);
  size.add(report->warnings());
  size.add(report->other_bases());
  size.each(report->steps(), [&](const wire::StepReport& step) {
    size.add(step.name());
    size.add(step.reason());
    size.add(step.tail());
  });
  size.each(report->artifacts(), [&](const wire::Artifact& file) {
    size.add(file.path());
    size.add(file.sha256());
  });
}

void measure(Size& size, const Tables<wire::SteerMessage>* messages) {
  size.each(messages, [&](const wire::SteerMessage& message) {
    size.add(message.by());
    size.add(message.text());
  });
}

void measure(Size& size, const wire::SandboxSpec* spec) {
  if (!spec) return;
  for (const Text* text : {spec->run(), spec->fleet(), spec->repository(), spec->url(),
                           spec->base_branch(), spec->branch(), spec->image(), spec->prompt(),
                           spec->context_json(), spec->feedback_json(), spec->agent_bundle()})
    size.add(text);
  size.add(spec->env());
  size.add(spec->secrets());
  size.each(spec->steps(), [&](const wire::Step& step) {
    size.add(step.name());
    size.add(step.argv());
    size.add(step.if_exists());
  });
  size.each(spec->context_files(), [&](const wire::ContextFile& file) {
    size.add(file.path());
    size.add(file.source());
  });
  measure(size, spec->resume());
  size.each(spec->other_repositories(), [&](const wire::OtherRepository& other) {
    size.add(other.name());
    size.add(other.url());
    size.add(other.base_branch());
  });
  measure(size, spec->messages());
}

void measure(Size& size, const wire::Frame& frame) {
  size.add(frame.host());
  size.add(frame.run());
  if (const auto* hello = frame.body_as_Hello()) {
    size.add(hello->host());
    size.add(hello->version());
    size.add(hello->labels());
    size.add(hello->running());
    size.add(hello->warm());
  } else if (const auto* beat = frame.body_as_Heartbeat()) {
    if (beat->warm_pool() != nullptr)
      size.each(beat->warm_pool()->lines(), [&](const wire::WarmPoolLine& line) {
        size.add(line.url());
        size.add(line.branch());
        size.add(line.image());
      });
  } else if (const auto* event = frame.body_as_RunEvent()) {
    size.add(event->reason());
    measure(size, event->report());
    measure(size, event->checkpoint());
  } else if (const auto* welcome = frame.body_as_Welcome()) {
    size.add(welcome->placed());
  } else if (const auto* start = frame.body_as_Start()) {
    measure(size, start->spec());
  } else if (const auto* steer = frame.body_as_Steer()) {
    measure(size, steer->messages());
  } else if (const auto* open = frame.body_as_ExecOpen()) {
    size.add(open->argv());
    size.add(open->env());
  }
  // The other bodies name each of their strings and vectors once.
}

}  // namespace

Result<const wire::Frame*> open_frame(std::string_view bytes) {
  if (bytes.size() > kMaxFrame) return fail(Errc::corrupt, "the frame is too large");
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size(), kMaxDepth, kMaxTables);
  if (!wire::VerifyFrameBuffer(verifier)) return fail(Errc::corrupt, "not a valid frame");
  const wire::Frame* frame = wire::GetFrame(data);
  if (!frame->body()) return fail(Errc::corrupt, "the frame has no body");
  if (wire::EnumNameBody(frame->body_type())[0] == 0)
    return fail(Errc::corrupt, "the frame's type is not known");
  Size size;
  measure(size, *frame);
  if (!size.fits()) return fail(Errc::corrupt, "the frame names more than it may hold");
  return frame;
}

std::string encode_frame(const wire::FrameT& frame) {
  flatbuffers::FlatBufferBuilder builder;
  wire::FinishFrameBuffer(builder, wire::Frame::Pack(builder, &frame));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

}  // namespace muster::storage
