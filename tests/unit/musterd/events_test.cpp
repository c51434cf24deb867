#include <catch2/catch.hpp>

#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

engine::Change change(engine::Sequence position, const std::string& run) {
  return {position, {"default", "run", run}, static_cast<std::uint16_t>(fbs::RunBody::Proceed), {}};
}

}  // namespace

TEST_CASE("an event names its actor and the message it handled") {
  CHECK(event_text(
            {7, {"default", "run", "7K2M"}, static_cast<std::uint16_t>(fbs::RunBody::Placed)}) ==
        "id: 7\ndata: {\"actor\":\"default/run/7K2M\",\"type\":\"Placed\"}\n\n");
  CHECK(message_name("run", 9999) == "9999");
  CHECK(message_name("ledger", 1) == "1");
}

TEST_CASE_METHOD(ApiFixture, "events come from now on, or after the last one seen") {
  engine.subscriber({change(1, "A"), change(2, "B")});
  const Response fresh = send("GET", "/v1/events");
  REQUIRE(fresh.stream);
  int wakes = 0;
  fresh.stream->on_more([&] { ++wakes; });
  CHECK(fresh.stream->next().bytes == ": muster\n\n");
  CHECK(fresh.stream->next().bytes.empty());
  engine.subscriber({change(3, "C")});
  CHECK(wakes == 1);
  CHECK(fresh.stream->next().bytes == event_text({3, {"default", "run", "C"}, 2}));

  Request request;
  request.method = "GET";
  REQUIRE(parse_target("/v1/events", request));
  request.headers["Last-Event-ID"] = "1";
  const Response resumed = api.handle(request);
  CHECK(resumed.stream->next().bytes == ": muster\n\n" +
                                            event_text({2, {"default", "run", "B"}, 2}) +
                                            event_text({3, {"default", "run", "C"}, 2}));
  Request filtered;
  filtered.method = "GET";
  REQUIRE(parse_target("/v1/events?kind=run&key=C", filtered));
  filtered.headers["Last-Event-ID"] = "1";
  CHECK(api.handle(filtered).stream->next().bytes ==
        ": muster\n\n" + event_text({3, {"default", "run", "C"}, 2}));
  request.headers["Last-Event-ID"] = "soon";
  CHECK(api.handle(request).status == 400);
}

TEST_CASE("who is too far behind is told of the gap") {
  EventHub hub;
  for (engine::Sequence at = 1; at <= EventHub::kKept + 10; ++at) hub.add({change(at, "A")});
  CHECK(hub.after(9, 1).gap);
  CHECK(hub.after(9, 1).events.at(0).position == 11);
  CHECK(!hub.after(10, 1).gap);
  CHECK(hub.last() == EventHub::kKept + 10);
  CHECK(event_response(hub, 1).stream->next().bytes.find("event: gap\n") != std::string::npos);
}

TEST_CASE_METHOD(ApiFixture, "who resumes after a restart is told of what nobody kept, once") {
  engine.position = 7;
  EventHub hub;
  hub.follow(engine);
  CHECK(hub.last() == 7);
  const auto behind = event_response(hub, 5).stream;
  CHECK(behind->next().bytes == ": muster\n\nevent: gap\ndata: {}\n\n");
  CHECK(behind->next().bytes.empty());
  hub.add({change(8, "A")});
  CHECK(behind->next().bytes == event_text({8, {"default", "run", "A"}, 2}));
  // Of a journal that was restored from before that event.
  CHECK(event_response(hub, 12).stream->next().bytes.find("event: gap\n") != std::string::npos);
  CHECK(event_response(hub, 8).stream->next().bytes == ": muster\n\n");
}

TEST_CASE_METHOD(ApiFixture,
                 "while nobody reads, the hub lets go of the engine; who comes begins it anew") {
  engine.position = 7;
  EventHub hub(std::chrono::milliseconds(0));
  hub.follow(engine);
  engine.subscriber({change(8, "A")});
  CHECK(engine.subscribed.expired());
  engine.position = 20;
  CHECK(hub.last() == 20);
  CHECK(!engine.subscribed.expired());
  CHECK(hub.after(8, 10).gap);  // What nobody kept is told as missing, never passed over.
  // As long as somebody waits for anything, it is kept.
  const auto handle = hub.on_change({"default", "run", "B"}, [] {});
  engine.subscriber({change(21, "A")});
  CHECK(!engine.subscribed.expired());
  CHECK(hub.after(20, 10).events.size() == 1);
}

TEST_CASE("a wake goes to those who asked for that actor, while they hold on") {
  EventHub hub;
  int a = 0;
  int any = 0;
  auto handle = hub.on_change({"default", "run", "A"}, [&] { ++a; });
  const auto all = hub.on_commit([&] { ++any; });
  hub.add({change(1, "A")});
  hub.add({change(2, "B")});
  CHECK(a == 1);
  CHECK(any == 2);
  handle.reset();
  hub.add({change(3, "A")});
  CHECK(a == 1);
}
