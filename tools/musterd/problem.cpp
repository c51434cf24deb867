#include "tools/musterd/problem.hpp"

#include <nlohmann/json.hpp>

namespace muster::musterd {

const ProblemKind kForbidden = {403, "forbidden", "This caller may not do that",
                                "GET /v1/whoami says what the caller may do"};
const ProblemKind kMethodNotAllowed = {405, "method-not-allowed", "Not this method here",
                                       "GET /v1/openapi.yaml lists every address with its methods"};

const ProblemKind& problem_kind(Errc code) {
  static const ProblemKind kInvalid = {
      400, "invalid", "The request is wrong",
      "mend what the detail names; repeating it as it is can't help"};
  static const ProblemKind kNotFound = {
      404, "not-found", "No such thing",
      "the lists (/v1/fleets, /v1/runs, /v1/pulls, /v1/hosts) say what "
      "there is"};
  static const ProblemKind kRefused = {409, "refused", "Not allowed now", ""};
  static const ProblemKind kConflict = {409, "conflict", "Contradicts what exists", ""};
  static const ProblemKind kUnreachable = {502, "unreachable", "The other side can't be reached",
                                           "repeat it later"};
  static const ProblemKind kOverloaded = {429, "overloaded", "Too much at once",
                                          "repeat it after Retry-After seconds, with the same key"};
  static const ProblemKind kTimedOut = {504, "timed-out", "No answer in time",
                                        "it may have happened: repeat it with the same key"};
  static const ProblemKind kUnknown = {503, "unknown", "It may or may not have happened",
                                       "repeat it with the same Idempotency-Key"};
  static const ProblemKind kIo = {500, "io", "The disk or the operating system said no",
                                  "see musterd's log and GET /healthz/ready"};
  static const ProblemKind kCorrupt = {500, "corrupt", "Stored bytes are not what they should be",
                                       "run `musterd check`"};
  static const ProblemKind kInternal = {500, "internal", "A fault of Muster itself",
                                        "please report it with musterd's log"};
  static const ProblemKind kKeyReused = {422, "idempotency-key-reused",
                                         "The key was used for another request",
                                         "send every new request with a new UUIDv7 as its Idempotency-Key"};
  switch (code) {
    case Errc::invalid:
      return kInvalid;
    case Errc::not_found:
      return kNotFound;
    case Errc::refused:
      return kRefused;
    case Errc::conflict:
      return kConflict;
    case Errc::unreachable:
      return kUnreachable;
    case Errc::overloaded:
      return kOverloaded;
    case Errc::timed_out:
      return kTimedOut;
    case Errc::unknown:
      return kUnknown;
    case Errc::io:
      return kIo;
    case Errc::corrupt:
      return kCorrupt;
    case Errc::internal:
      return kInternal;
    case Errc::key_reused:
      return kKeyReused;
  }
  return kInternal;
}

Response problem(const ProblemKind& kind, Errc code, std::string_view detail) {
  nlohmann::ordered_json body = {{"type", "https://muster.dev/problems/" + std::string(kind.slug)},
                                 {"title", kind.title},
                                 {"status", kind.status},
                                 {"detail", detail},
                                 {"code", to_string(code)}};
  if (!kind.hint.empty()) body["hint"] = kind.hint;
  Response response;
  response.status = kind.status;
  response.content_type = "application/problem+json";
  // A detail may quote bytes from outside: what is not UTF-8 is replaced, never thrown about.
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (kind.status == 429 || kind.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

Response problem(const Error& error) {
  return problem(problem_kind(error.code), error.code, error.message);
}

Response refusal(int status, std::string_view why) {
  switch (status) {
    case 408:
      return problem({408, "too-slow", "The request did not arrive in time", ""}, Errc::timed_out,
                     why);
    case 413:
      return problem(
          {413, "too-large", "The body is too large", "bodies may have 1 MiB, blobs 64 MiB"},
          Errc::invalid, why);
    case 429:
      return problem({Errc::overloaded, std::string(why)});
    case 431:
      return problem({431, "header-too-large", "The header is too large", ""}, Errc::invalid, why);
    default:
      return problem({Errc::invalid, std::string(why)});
  }
}

}  // namespace muster::musterd
