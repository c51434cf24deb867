#include <catch2/catch.hpp>

#include "tools/musterd/cursor.hpp"
#include "tools/musterd/http.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/router.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

Request request(std::string method, std::string_view target) {
  Request made;
  made.method = std::move(method);
  REQUIRE(parse_target(target, made));
  return made;
}

Router some_routes() {
  Router router;
  const auto none = [](const Request&) -> Result<Response> { return Response{}; };
  router.add({"GET", "/v1/runs", none, 0});
  router.add({"GET", "/v1/runs/{id}", none, 0});
  router.add({"POST", "/v1/runs/{id}/cancel", none, 10});
  return router;
}

}  // namespace

TEST_CASE("a target is split before it is decoded") {
  const Request got =
      request("GET", "/v1/runs/fleet%2Facme%2Fapi/logs?follow=true&step=verify%3Aa+b&x");
  CHECK(got.path == "/v1/runs/fleet%2Facme%2Fapi/logs");
  CHECK(got.segments == std::vector<std::string>{"v1", "runs", "fleet/acme/api", "logs"});
  CHECK(got.parameter("follow") == "true");
  CHECK(got.parameter("step") == "verify:a b");
  CHECK(got.query.count("x") == 1);
  CHECK(got.parameter("missing").empty());
}

TEST_CASE("malformed targets are refused") {
  for (const char* target :
       {"", "v1", "/a%", "/a%2", "/a%zz", "/a%00", "/a?x=%f", "http://host/"}) {
    Request into;
    INFO(target);
    CHECK(!parse_target(target, into));
  }
}

TEST_CASE("percent-decoding at the very end") {
  CHECK(percent_decode("a%20", false) == std::string("a "));
  CHECK(percent_decode("a+b", false) == std::string("a+b"));
  CHECK(percent_decode("a+b", true) == std::string("a b"));
}

TEST_CASE("routes are found by method and pattern") {
  const Router router = some_routes();
  Request show = request("GET", "/v1/runs/7K2M");
  const auto found = router.find(show);
  REQUIRE(found);
  CHECK((*found)->pattern == "/v1/runs/{id}");
  CHECK(show.params.at("id") == "7K2M");

  Request head = request("HEAD", "/v1/runs");
  CHECK((*router.find(head))->method == "GET");

  Request wrong = request("PUT", "/v1/runs/7K2M/cancel");
  CHECK(router.find(wrong).error() == Error{Errc::refused, "POST"});

  Request unknown = request("GET", "/v1/nothing");
  CHECK(router.find(unknown).error().code == Errc::not_found);

  Request nameless = request("GET", "/v1/runs//cancel");
  CHECK(router.find(nameless).error().code == Errc::not_found);
}

TEST_CASE("cursors hold any key and nothing else passes for one") {
  for (const std::string& key :
       {std::string("7K2M"), std::string("a\0b", 3), std::string("\xff\xfe"), std::string(),
        std::string("acme/api#12")})
    CHECK(decode_cursor(encode_cursor(key)) == key);
  for (const char* text : {"a", "=", "AB", "a b", "%%"}) CHECK(!decode_cursor(text));
}

TEST_CASE("every kind of error has a status and a stable type") {
  const auto status = [](Errc code) { return problem({code, "why"}).status; };
  CHECK(status(Errc::invalid) == 400);
  CHECK(status(Errc::not_found) == 404);
  CHECK(status(Errc::refused) == 409);
  CHECK(status(Errc::conflict) == 409);
  CHECK(status(Errc::unreachable) == 502);
  CHECK(status(Errc::overloaded) == 429);
  CHECK(status(Errc::timed_out) == 504);
  CHECK(status(Errc::unknown) == 503);
  CHECK(status(Errc::io) == 500);
  CHECK(status(Errc::corrupt) == 500);
  CHECK(status(Errc::internal) == 500);

  const Response response = problem({Errc::overloaded, "queue \xff full"});
  CHECK(response.content_type == "application/problem+json");
  CHECK(response.headers == std::vector<std::pair<std::string, std::string>>{{"Retry-After", "1"}});
  CHECK(
      response.body ==
      R"({"type":"https://muster.dev/problems/overloaded","title":"Too much at once","status":429,)"
      "\"detail\":\"queue \xef\xbf\xbd full\",\"code\":\"overloaded\","
      R"("hint":"repeat it after Retry-After seconds, with the same key"})"
      "\n");
}
